package locality

import "github.com/isthmus-dns/isthmus/discovery"

// Viewer is who asks: where the client runs.
type Viewer struct {
	Cluster  string // "" for a viewer that is in none
	Network  string
	Locality discovery.Locality
}

// Policy is the viewer's routing policy. Its zero value is the default order
// of tiers and, so far, the only one.
type Policy struct{}

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

// Candidate is one cluster that has the service, as the viewer sees it.
type Candidate struct {
	Cluster      string
	Locality     discovery.Locality
	Ready, Total uint32 // endpoints
	Weight       uint32 // per ready endpoint, relative to other clusters; 0 means 1
	Reach        Reach
}

// Tier is how near a candidate is; a lower tier is used first. It is the
// priority of SRV records.
type Tier int8

// The tiers of the default policy.
const (
	TierOut    Tier = -1 // no tier: the candidate is out
	TierOwn    Tier = 0
	TierZone   Tier = 1
	TierRegion Tier = 2
	TierOther  Tier = 3
	// Tiers is the number of tiers that a candidate can be in.
	Tiers = 4
)

// String is the tier's name in _why, in metrics and in the API.
func (t Tier) String() string {
	switch t {
	case TierOwn:
		return "own"
	case TierZone:
		return "zone"
	case TierRegion:
		return "region"
	case TierOther:
		return "other"
	}
	return "out"
}

// tierOf places a candidate by what it shares with the viewer. Unknown fields
// match nothing, and zones of two regions are two zones even if one name names
// both.
func tierOf(v Viewer, c Candidate) Tier {
	switch {
	case v.Cluster != "" && v.Cluster == c.Cluster:
		return TierOwn
	case v.Locality.Region == "" || v.Locality.Region != c.Locality.Region:
		return TierOther
	case v.Locality.Zone == "" || v.Locality.Zone != c.Locality.Zone:
		return TierRegion
	}
	return TierZone
}
