// Package locality decides which cluster of a service a client is sent to. It
// is pure: a viewer, a policy and the candidate clusters go in, a Plan comes
// out, and the same input gives the same Plan. It does no I/O, starts no
// goroutine, reads no clock and draws no random number; it knows neither DNS
// nor the Table. The caller (plugin/isthmus, and whatever explains an answer)
// turns records into candidates, brings its own random numbers to Pick, and
// prints the reasons that every Verdict carries.
//
// The order of tiers is Envoy's and Istio's: the own cluster, the same zone,
// the same region, the rest. Inside a tier a candidate gets answers in
// proportion to its ready endpoints times its weight.
package locality
