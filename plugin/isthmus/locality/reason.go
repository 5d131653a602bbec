package locality

// Reason is the rule that let a candidate in or kept it out.
type Reason uint8

// The reasons of candidates that are in, that stand by, and that are out.
const (
	ReasonNone       Reason = iota // no verdict has it
	ReasonChosen                   // in
	ReasonSpill                    // in
	ReasonDistribute               // in
	ReasonPanic                    // in
	ReasonLastResort               // in
	ReasonStandby
	ReasonUnmatched
	ReasonDown       // out
	ReasonDownSilent // out
	ReasonNoReady    // out
	ReasonNoAddress  // out
	ReasonNoGateway  // out
	ReasonUnresolved // out
	ReasonNoHost     // out
	ReasonRefused    // out
	ReasonDrained    // out
	// Reasons is the number of reasons, for an array by reason.
	Reasons
)

// reasons are the names for people and for metrics.
var reasons = [Reasons]struct{ text, label string }{
	ReasonNone:       {"none", "none"},
	ReasonChosen:     {"lowest tier with candidates", "nearest"},
	ReasonSpill:      {"lower tiers are not healthy enough", "spill"},
	ReasonDistribute: {"distribute rule", "distribute"},
	ReasonPanic:      {"gateway down, but nothing else is left", "panic"},
	ReasonLastResort: {"silent and gateway down, but nothing else is left", "last_resort"},
	ReasonStandby:    {"a lower tier has candidates", "standby"},
	ReasonUnmatched:  {"no pattern of the distribute rule matches", "unmatched"},
	ReasonDown:       {"gateway down", "gateway_down"},
	ReasonDownSilent: {"silent and gateway down", "silent_and_gateway_down"},
	ReasonNoReady:    {"no ready endpoint", "no_ready"},
	ReasonNoAddress:  {"no address", "no_address"},
	ReasonNoGateway:  {"no gateway", "no_gateway"},
	ReasonUnresolved: {"gateway host name not resolved", "unresolved"},
	ReasonNoHost:     {"gateway host name has no address", "no_host"},
	ReasonRefused:    {"address is loopback, link-local or a metadata service", "refused"},
	ReasonDrained:    {"drained", "drained"},
}

// String is the rule in words, for _why and explain.
func (r Reason) String() string { return reasons[min(r, Reasons-1)].text }

// Label is the rule's name in metrics.
func (r Reason) Label() string { return reasons[min(r, Reasons-1)].label }

// outReason says why a candidate can't be answered whatever the others are;
// ReasonNone if it can.
func outReason(c *Candidate) Reason {
	switch {
	case c.Drained:
		return ReasonDrained
	case c.Ready == 0:
		return ReasonNoReady
	case c.Reach == NoGateway:
		return ReasonNoGateway
	case c.Reach == Unresolved:
		return ReasonUnresolved
	case c.Reach == NoHost:
		return ReasonNoHost
	case c.Reach == Refused:
		return ReasonRefused
	case !c.Reach.OK():
		return ReasonNoAddress
	}
	return ReasonNone
}
