package locality

// Order is how tiers after the own cluster are made.
type Order string

// The orders; empty means OrderLocality.
const (
	OrderLocality Order = "locality" // by zone and region
	OrderLatency  Order = "latency"  // by measured round-trip time
)

// Affinity is what a client keeps.
type Affinity string

// The affinities; empty means AffinityNone.
const (
	AffinityNone   Affinity = "none"   // each answer is drawn anew
	AffinityClient Affinity = "client" // a client's address decides
)

// Routing is a cluster's routing policy as it is written, in the shape of
// Istio's localityLbSetting. Its zero value is the default. Compile makes it
// fit for use.
type Routing struct {
	Rules
	// Services override it; of those that match a service the first wins.
	Services []Override
}

// Rules are what can be set for all services and for some.
type Rules struct {
	Failover   []Failover
	Distribute []Distribute
	Order      Order
	Affinity   Affinity
}

// Failover lists the regions that take over from one region, the first first.
// Istio has one region to fail over to; here it may be several.
type Failover struct {
	From string
	To   []string
}

// Distribute divides what comes from the localities that From matches among
// those that To matches. Weights are percent and sum up to 100, as in Istio.
// Other than there, patterns may overlap: the most specific one that matches
// counts.
type Distribute struct {
	From string
	To   map[string]uint32
}

// Override sets rules for the services whose namespace and name match. A rule
// that is not set (nil, empty) is that of all services; a list that is empty
// but not nil sets none.
type Override struct {
	Match string // "namespace/name", a '*' stands for any letters
	Rules
}

// merged are the rules of an override where it sets some.
func (o *Override) merged(base Rules) Rules {
	if o.Failover != nil {
		base.Failover = o.Failover
	}
	if o.Distribute != nil {
		base.Distribute = o.Distribute
	}
	if o.Order != "" {
		base.Order = o.Order
	}
	if o.Affinity != "" {
		base.Affinity = o.Affinity
	}
	return base
}
