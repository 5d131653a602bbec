// Package locality decides which cluster of a service a client is sent to. It
// is pure: a viewer, a policy and the candidate clusters go in, a Plan comes
// out, and the same input gives the same Plan. It does no I/O, starts no
// goroutine, reads no clock and draws no random number; it knows neither DNS
// nor the Table. The caller (plugin/isthmus, and whatever explains an answer)
// turns records into candidates, brings its own random numbers to Pick or a
// client's to PickFor, and prints the rules that every Verdict carries.
//
// The walk of a decision:
//
//	candidate.go   what is known of a cluster        freshness.go  is it heard of
//	routing.go     the policy as it is written       validate.go   what is wrong with it
//	policy.go      the policy of one service         pattern.go    which places a rule means
//	tier.go        the place of each candidate       band.go       places by round-trip time
//	load.go        what each tier, or pattern, gets
//	choose.go      what each candidate gets          reason.go     and why
//	plan.go        a choice by number                affinity.go   a choice by client
//
// The README tells the rules with examples and where they come from.
package locality
