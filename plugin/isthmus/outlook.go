package isthmus

import (
	"context"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/gossip/replica"
	"github.com/isthmus-dns/isthmus/plugin/isthmus/locality"
)

// outlookTick is how soon it is noticed that a cluster is silent.
const outlookTick = time.Second

// outlook keeps what decisions hang on besides the table: the routing policy,
// which gateways are up and how far away, and which clusters are heard of. It
// belongs to the link, so that a reload finds it as it was: bands and silence
// have a memory.
//
// What the watcher tells counts with the next query, by its pointers; silence,
// which nobody tells, is found by a sweep in the background. Either makes new
// facts only if a decision may differ by them, so that what was built for
// queries outlives a round-trip time that moved a little.
type outlook struct {
	link   link
	table  *discovery.Table // the link's: a query asks for it several times
	logger *slog.Logger
	now    atomic.Pointer[glance]

	mu       sync.Mutex
	routing  string             // the policy that was compiled last, or could not be; guarded by mu
	policies *locality.Policies // the last good ones; guarded by mu
	silence  silence            // guarded by mu
}

// glance is what facts were made from.
type glance struct {
	view     *View
	gateways *replica.GatewayStates
	facts    *facts
}

// facts are immutable. They are the same pointer as long as no decision can
// differ.
type facts struct {
	*standpoint
	// gateways may be outdated in the round-trip times, but not in what is up
	// and in which band.
	gateways  *replica.GatewayStates
	bands     bands
	freshness map[string]locality.Freshness // of clusters that aren't fresh
}

// standpoint is what is left of facts in what was built from them: each facts have
// one of their own, to be told by. Thousands of services that are asked for once a
// day keep theirs all the time, and with whole facts as many states of all gateways.
type standpoint struct {
	view     *View
	policies *locality.Policies
}

func newOutlook(l link, logger *slog.Logger) *outlook {
	return &outlook{link: l, table: l.Table(), logger: logger}
}

// facts are those for what the watcher says now; view is not nil. While nothing
// changes it costs two loads.
func (o *outlook) facts(view *View) *facts {
	g := o.now.Load()
	if g != nil && g.view == view && g.gateways == o.link.Gateways() {
		return g.facts
	}
	return o.newFacts(view, g)
}

// newFacts are for when something has changed since a glance, nil for none yet. Two
// thousand gateways take half a millisecond to look at. One query does, and those
// that come meanwhile are answered as before; but first there must be something to
// answer by.
func (o *outlook) newFacts(view *View, g *glance) *facts {
	if !o.mu.TryLock() {
		if g != nil {
			return g.facts
		}
		o.mu.Lock()
	}
	defer o.mu.Unlock()
	return o.lookLocked(view)
}

// lookLocked makes facts of what is known now.
func (o *outlook) lookLocked(view *View) *facts {
	old := o.now.Load()
	next := &glance{view: view, gateways: o.link.Gateways()}
	next.facts = &facts{
		standpoint: &standpoint{view, o.policiesLocked(view.Routing)},
		gateways:   next.gateways, freshness: o.silence.states,
	}
	if old == nil {
		next.facts.bands, _ = bands(nil).next(next.gateways)
		o.now.Store(next)
		return next.facts
	}
	same := old.gateways == next.gateways
	next.facts.bands = old.facts.bands
	if !same {
		var moved bool
		next.facts.bands, moved = old.facts.bands.next(next.gateways)
		same = !moved && sameStates(old.facts.gateways, next.gateways)
	}
	if same && next.facts.isLike(old.facts) {
		next.facts = old.facts
	}
	o.now.Store(next)
	return next.facts
}

// isLike tells whether facts are the same, but for gateways.
func (f *facts) isLike(o *facts) bool {
	return f.view == o.view && f.policies == o.policies && maps.Equal(f.freshness, o.freshness)
}

// policiesLocked compiles a policy. What can't be read is no reason to send all
// clients elsewhere: the last good one stays, be it the default.
func (o *outlook) policiesLocked(text string) *locality.Policies {
	if text == o.routing {
		return o.policies
	}
	o.routing = text
	routing, err := locality.DecodeRouting(text)
	if err == nil {
		var policies *locality.Policies
		if policies, err = locality.Compile(routing); err == nil {
			o.policies = policies
			return policies
		}
	}
	o.logger.Warn("routing policy from the watcher not used, the one before stays", "err", err)
	return o.policies
}

// Run notices silence until ctx ends.
func (o *outlook) Run(ctx context.Context) {
	tick := time.NewTicker(outlookTick)
	defer tick.Stop()
	for {
		o.sweep(time.Now())
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// sweep looks who is silent, and takes up what the watcher says, before a query
// has to.
func (o *outlook) sweep(now time.Time) {
	view := o.link.View()
	if view == nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	cutOff := o.silence.cutOff
	o.silence.judge(o.link, view.Cluster, now)
	o.lookLocked(view)
	switch {
	case o.silence.cutOff && !cutOff:
		o.logger.Warn("most clusters turned silent together: this cluster is cut off, answers stay as they are")
	case cutOff && !o.silence.cutOff:
		o.logger.Info("most clusters are heard of again")
	}
}
