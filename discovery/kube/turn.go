package kube

import (
	"time"

	"golang.org/x/time/rate"
	"k8s.io/client-go/tools/cache"
)

const (
	// paceBurst and pace bound what is written about one Service: one whose state
	// goes to and fro, or whose messages somebody else can change, costs the API
	// server no more than this, and takes nobody's turn.
	paceBurst = 10
	pace      = time.Minute
	// barredFor is how long a kind of writing that is forbidden is not tried.
	barredFor = time.Minute
)

// What is written, as the log names it.
const (
	writesConditions = "conditions of ServiceExports"
	writesEvents     = "Events"
)

// turn is whether something may be written.
type turn int

const (
	turnNow   turn = iota
	turnLater      // not about this Service, or not of this kind: it is looked at again
	turnNone       // nothing at all at the moment
)

// turn asks for leave to write about a Service.
func (r *reporter) turn(key cache.ObjectName, what string) turn {
	switch {
	case !r.source.stillLeads():
		return turnNone
	case time.Now().Before(r.barred[what]):
		return turnLater
	}
	p := r.paces[key]
	if p == nil {
		p = rate.NewLimiter(rate.Every(pace), paceBurst)
		r.paces[key] = p
	}
	switch {
	case p.Tokens() < 1:
		return turnLater
	case !r.limit.Allow():
		return turnNone
	}
	p.Allow()
	return turnNow
}

// stillLeads is false when this replica was elected and has lost the Lease since,
// which a process that was stopped for a while learns only here.
func (s *Source) stillLeads() bool { return s.elector.Load() == nil || s.Holds() }
