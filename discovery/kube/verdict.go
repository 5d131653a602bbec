package kube

import (
	"maps"
	"strings"
	"sync"

	"k8s.io/client-go/tools/cache"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/discovery/export"
)

// verdict is what the owner of a declared Service should know.
type verdict struct {
	exported bool
	reason   string // why not, one of export's reasons
	problems string // sentences, separated by "; "
	// own tells that it has gateways of its own; set is the gateway set that
	// serves it otherwise.
	own bool
	set string
}

// verdictOf is nil for a Service of which nobody has said that it is to be
// exported, or not. Under `export: all` that is most of them, and nobody waits
// to hear of each.
func verdictOf(in *export.Input, result export.Result) *verdict {
	if in.Export == nil && (!export.Named(in.Service) || result.Service == nil && export.Intended(result.Reason)) {
		return nil
	}
	v := &verdict{exported: result.Service != nil, reason: result.Reason, problems: strings.Join(result.Problems, "; ")}
	if v.exported {
		v.own = len(result.Service.Gateways) > 0
		if v.set = result.Service.GatewaySet; v.set == "" {
			v.set = discovery.DefaultGatewaySet
		}
	}
	return v
}

// verdicts are those of all declared Services. The worker writes them in every
// replica; the reporter of the one that leads reads them.
type verdicts struct {
	wake chan struct{} // capacity 1: something was noted

	mu      sync.Mutex
	all     map[cache.ObjectName]verdict
	changed map[cache.ObjectName]bool // since they were taken; bounded by the declared Services and those that were
	sets    map[string]bool           // gateway sets that have a gateway
}

func newVerdicts() *verdicts {
	return &verdicts{
		wake: make(chan struct{}, 1),
		all:  map[cache.ObjectName]verdict{}, changed: map[cache.ObjectName]bool{}, sets: map[string]bool{},
	}
}

// note takes a Service's verdict; nil when nobody has declared it.
func (v *verdicts) note(key cache.ObjectName, now *verdict) {
	v.mu.Lock()
	before, had := v.all[key]
	switch {
	case now == nil:
		delete(v.all, key)
	default:
		v.all[key] = *now
	}
	same := had == (now != nil) && (now == nil || before == *now)
	if !same {
		v.changed[key] = true
	}
	v.mu.Unlock()
	if !same {
		v.poke()
	}
}

// again has one looked at anew, as its ServiceExport was changed by somebody.
func (v *verdicts) again(key cache.ObjectName) {
	v.mu.Lock()
	_, declared := v.all[key]
	if declared {
		v.changed[key] = true
	}
	v.mu.Unlock()
	if declared {
		v.poke()
	}
}

// noteSets takes which gateway sets have a gateway.
func (v *verdicts) noteSets(sets []discovery.GatewaySet) {
	now := map[string]bool{}
	for _, set := range sets {
		if len(set.Gateways) > 0 {
			now[set.Name] = true
		}
	}
	v.mu.Lock()
	same := maps.Equal(now, v.sets)
	v.sets = now
	v.mu.Unlock()
	if !same {
		v.lookAtAll()
	}
}

// lookAtAll has everything looked at anew.
func (v *verdicts) lookAtAll() {
	v.mu.Lock()
	for key := range v.all {
		v.changed[key] = true
	}
	v.mu.Unlock()
	v.poke()
}

func (v *verdicts) poke() {
	select {
	case v.wake <- struct{}{}:
	default:
	}
}

// take hands out which have changed, at most so many.
func (v *verdicts) take(most int) []cache.ObjectName {
	v.mu.Lock()
	defer v.mu.Unlock()
	var out []cache.ObjectName
	for key := range v.changed {
		if len(out) == most {
			break
		}
		out = append(out, key)
		delete(v.changed, key)
	}
	return out
}

// get is the verdict on a Service, and whether it can be reached from other
// clusters; nil when nobody has declared it.
func (v *verdicts) get(key cache.ObjectName) (got *verdict, reached bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	now, ok := v.all[key]
	if !ok {
		return nil, false
	}
	return &now, now.own || v.sets[now.set]
}

func (v *verdicts) snapshot() map[cache.ObjectName]verdict {
	v.mu.Lock()
	defer v.mu.Unlock()
	return maps.Clone(v.all)
}
