package locality

import (
	"time"

	"github.com/isthmus-dns/isthmus/discovery"
)

// Viewer is who asks: where the client runs.
type Viewer struct {
	Cluster  string // "" for a viewer that is in none
	Network  string
	Locality discovery.Locality
}

// Reach is how a viewer gets to a candidate, or why it can't.
type Reach uint8

// The ways, and the reasons for there being none.
const (
	NoAddress    Reach = iota // the record names no address that the viewer could use
	NoGateway                 // another network, and no gateway leads there
	Unresolved                // the gateway has a host name that has no address yet
	NoHost                    // the gateway has a host name, and the DNS says that it has no address
	Refused                   // the gateways' addresses lead to the client's own machine
	ByService                 // the own cluster: the service's own addresses
	ByEndpoint                // a shared network: the endpoints themselves
	ByGateway                 // through a gateway
	reachUnknown              // above all valid values
)

// OK tells whether there is a way.
func (r Reach) OK() bool { return r >= ByService && r < reachUnknown }

// Gateway is what probes from the viewer's cluster say about a candidate's
// gateways together: they are down when all of them are.
type Gateway uint8

// The states of a gateway. What was not probed is unknown, and that is not
// down: a cluster without checks must not lose its clients for it.
const (
	GatewayUnknown Gateway = iota
	GatewayUp
	GatewayDown
)

// String is the state's name in explanations.
func (g Gateway) String() string {
	switch g {
	case GatewayUp:
		return "up"
	case GatewayDown:
		return "down"
	}
	return "unknown"
}

// Candidate is one cluster that has the service, as the viewer sees it. The
// clusters of one decision have different names.
type Candidate struct {
	Cluster      string
	Locality     discovery.Locality
	Ready, Total uint32 // endpoints; a Total below Ready counts as Ready
	Weight       uint32 // per ready endpoint, relative to other clusters; 0 means 1
	Reach        Reach
	// Gateway counts only where the way leads through a gateway.
	Gateway Gateway
	// Freshness is whether the candidate's record may be trusted to be of
	// now. It doesn't count for the viewer's own cluster: what it says of
	// itself comes from the same watchers as everything else.
	Freshness Freshness
	// RTT is the smoothed round-trip time to the nearest of its gateways; 0
	// where none was measured.
	RTT time.Duration
	// Band is the latency band that the candidate was in, from the Verdict
	// before this one or from NextBand; NoBand where there is none.
	Band Band
	// Drained asks what would be if the cluster were not there.
	Drained bool
}

// silent tells whether the candidate moves one tier lower.
func (c *Candidate) silent(own bool) bool { return c.Freshness == Silent && !own }

// down tells whether the candidate's gateways are known to be down.
func (c *Candidate) down() bool { return c.Reach == ByGateway && c.Gateway == GatewayDown }

// total is the number of endpoints, whatever the record says of it.
func (c *Candidate) total() uint64 { return uint64(max(c.Total, c.Ready)) }

// stranded tells that no client gets to the candidate, however many of its
// endpoints are ready: its tier doesn't count on them, or it would give a part
// of its load away for good. A gateway that is down, or whose host name is to be
// looked up, is expected back and missed meanwhile. So are endpoints that have
// no address because none is ready.
func (c *Candidate) stranded() bool {
	switch c.Reach {
	case NoGateway, NoHost, Refused:
		return true
	case NoAddress:
		return c.Ready > 0
	}
	return false
}
