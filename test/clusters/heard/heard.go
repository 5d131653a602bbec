// Package heard is the form in which the Pod that asks tells the tests what it
// was answered: a line of JSON for each [Run].
package heard

import "time"

// Run is a row of equal answers to one question. One by [Until] says that all
// that was asked before To has been told.
type Run struct {
	Via    string    `json:"via"`    // [Resolver], [Agent] or [Until]
	Name   string    `json:"name"`   // fully qualified
	Answer string    `json:"answer"` // addresses in order, [NoData], another rcode, or what begins with [Lost]
	From   time.Time `json:"from"`   // when the first of them was asked
	To     time.Time `json:"to"`     // and the last
	Count  int       `json:"count"`
	Slow   int       `json:"slow,omitempty"` // of them came after more than a second
}

// Who was asked.
const (
	Resolver = "resolver" // the Pod's name server
	Agent    = "agent"    // the node's agent
	Until    = "until"    // nobody
)

// Answers that are not addresses.
const (
	NoData   = "NODATA"
	NXDomain = "NXDOMAIN"
	// Lost begins what leaves a client without an answer: nothing in two
	// attempts of five seconds each, SERVFAIL or REFUSED.
	Lost = "lost"
)
