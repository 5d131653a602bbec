package watch

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/discovery/probe"
	"github.com/isthmus-dns/isthmus/gossip/replica"
)

const (
	// lookEvery is how often the table is looked at for gateways that came or
	// went.
	lookEvery = time.Second
	// servicesEvery is how soon gateways are seen that services have for
	// themselves. They take a walk over all services.
	servicesEvery = 10 * time.Second
	// walkShare bounds the part of a processor that walks take: one in so many.
	walkShare = 20
	// inheritTime is how long a new prober goes by what the one before it found
	// where it has no verdict of its own. Up to 32 host names a cluster are
	// looked up one after another.
	inheritTime = 2 * time.Minute
)

// noticeboard is the replica as far as gateways go: it brings what we find to
// agents and siblings, and what a sibling finds to us and our agents.
type noticeboard interface {
	SetGateways(*replica.GatewayStates)
	KeepGateways(*replica.GatewayStates) bool
	YieldGateways()
	Gateways() (states *replica.GatewayStates, outdated <-chan struct{})
	Ready() bool
}

// gateways has the gateways of other clusters checked while this watcher leads,
// and takes over what the leading one finds while it stands by.
type gateways struct {
	own    string
	table  *discovery.Table
	board  noticeboard
	prober *probe.Prober
	log    *slog.Logger

	leads  atomic.Bool                    // we are the one to check
	checks atomic.Bool                    // we do
	turn   chan struct{}                  // capacity 1: leads has changed
	wanted atomic.Pointer[[]probe.Target] // nil until the table is whole

	record *discovery.Cluster // our own, which the policy's Fit is made from; run's alone
}

func newGateways(own string, table *discovery.Table, board noticeboard, c probe.Config) (*gateways, error) {
	prober, err := probe.New(c)
	if err != nil {
		return nil, err
	}
	return &gateways{own: own, table: table, board: board, prober: prober, log: c.Logger, turn: make(chan struct{}, 1)}, nil
}

// setHealth changes how often and how patiently gateways are checked.
func (g *gateways) setHealth(h probe.Health) error {
	return g.prober.ChangePolicy(func(p *probe.Policy) { p.Health = h })
}

// health is what is in force.
func (g *gateways) health() probe.Health { return g.prober.Policy().Health }

// run keeps the prober's targets those of the table, and its states those of the
// sibling that checks, until ctx ends.
func (g *gateways) run(ctx context.Context) error {
	var seen sight
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		states, outdated := g.board.Gateways()
		if g.board.Ready() && seen.changed(g.table, time.Now()) {
			g.aim()
			seen.walked(time.Now())
		}
		if !g.checks.Load() {
			g.adopt(states)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-outdated:
		case <-ticker.C:
		}
	}
}

// sight is what of a table was seen, and when to look again.
type sight struct {
	records           *[]*discovery.Cluster
	clusters          *discovery.ClusterState // of the first one: the list is another one after each change
	began             time.Time
	atRecords, atRest time.Time // not before
}

// changed tells whether there is something new that is to be looked at now.
// Records are told apart from services: a cluster's gateways are seen at once,
// while endpoints that change all the time don't make us walk all the time.
func (s *sight) changed(table *discovery.Table, now time.Time) bool {
	records, clusters := table.Records(), table.Clusters()
	var first *discovery.ClusterState
	if len(clusters) > 0 {
		first = &clusters[0]
	}
	switch {
	case records != s.records && !now.Before(s.atRecords):
	case first != s.clusters && !now.Before(s.atRest):
	default:
		return false
	}
	s.records, s.clusters, s.began = records, first, now
	return true
}

func (s *sight) walked(now time.Time) {
	pause := walkShare * now.Sub(s.began)
	s.atRecords, s.atRest = now.Add(pause), now.Add(max(servicesEvery, pause))
}

// aim makes the gateways of the table the prober's targets.
func (g *gateways) aim() {
	g.refit()
	targets := probe.Of(g.table, g.own)
	g.prober.SetTargets(targets)
	g.wanted.Store(&targets)
}

// refit has addresses refused that are our own cluster's.
func (g *gateways) refit() {
	var own *discovery.Cluster
	for _, c := range *g.table.Records() {
		if c.Name == g.own {
			own = c
		}
	}
	if own == g.record { // FitFrom(nil) is the prober's default
		return
	}
	g.record = own
	fit := probe.FitFrom(own)
	if err := g.prober.ChangePolicy(func(p *probe.Policy) { p.Fit = fit }); err != nil { // it was valid before
		g.log.Error("policy of gateway checks not changed", "error", err)
	}
}

// adopt lets the prober know what a sibling found: for our own figures, and to
// go on from when we take over. Host names are looked up by the prober that
// runs only: of their addresses it knows nothing before, and judges them as new.
func (g *gateways) adopt(states *replica.GatewayStates) {
	if states == nil {
		return
	}
	var news []probe.Result
	for cluster, results := range g.prober.Snapshot().All() {
		for _, r := range results {
			s := states.State(cluster, gatewayAddress(r.Target))
			status := statusOf(s)
			if status == r.Status && s.RTT == r.RTT.Smoothed {
				continue
			}
			r.Status, r.RTT, r.Error = status, probe.RTT{Smoothed: s.RTT, Variation: s.RTT / 2}, ""
			r.Since = time.Now()
			news = append(news, r)
		}
	}
	if news != nil {
		g.prober.Adopt(news)
	}
}

func statusOf(s replica.GatewayState) probe.Status {
	switch {
	case !s.Known:
		return probe.Unknown
	case s.Up:
		return probe.Up
	}
	return probe.Down
}

func gatewayAddress(t probe.Target) replica.GatewayAddress {
	return replica.GatewayAddress{AddrPort: netip.AddrPortFrom(t.Addr, t.Port), Check: t.Check}
}

// lead makes this watcher the one to check until ctx ends.
func (g *gateways) lead(ctx context.Context) {
	g.setLeads(true)
	<-ctx.Done()
	g.setLeads(false)
}

func (g *gateways) setLeads(leads bool) {
	g.leads.Store(leads)
	select {
	case g.turn <- struct{}{}:
	default:
	}
}

// check checks whenever this watcher is the one to do so, until ctx ends.
func (g *gateways) check(ctx context.Context) error {
	for {
		if g.leads.Load() {
			g.serve(ctx)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-g.turn:
		}
	}
}

// serve checks and tells what it finds until a sibling does, or ctx ends. That
// we are no more the one to check doesn't end it: while the API server is away
// nobody is, and gateways die and return all the same.
func (g *gateways) serve(ctx context.Context) {
	g.checks.Store(true)
	defer g.checks.Store(false)
	defer g.board.YieldGateways()
	var running sync.WaitGroup
	defer running.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	running.Go(func() {
		if err := g.prober.Run(ctx); err != nil {
			g.log.Error("checks of gateways ended", "error", err)
		}
	})
	t := tenure{gateways: g}
	for {
		snapshot := g.prober.Snapshot()
		leads := g.leads.Load()
		_, outdated := g.board.Gateways()
		states := t.states(snapshot, time.Now())
		switch {
		case leads && states != nil:
			g.board.SetGateways(states)
		case !leads && (states == nil || !g.board.KeepGateways(states)):
			return
		}
		if leads {
			outdated = nil // nobody else has a say
		}
		var soon <-chan time.Time
		if !t.settled {
			soon = time.After(lookEvery)
		}
		select {
		case <-ctx.Done():
			return
		case <-snapshot.Outdated():
		case <-outdated:
		case <-g.turn:
		case <-soon:
		}
	}
}

// tenure is one time of leading. It begins with what the watcher found that led
// before: a dead gateway must not come back into the answers because another
// watcher has taken over. Our own verdicts take its place one by one. Where
// nothing was found before, as in a cluster's only watcher that starts, nothing
// is told until all is known that soon will be: agents have what they were told
// before, too.
type tenure struct {
	*gateways
	inherited *replica.GatewayStates
	began     time.Time // zero until there are targets
	settled   bool      // all is our own
}

// states is what to tell, nil for nothing yet.
func (t *tenure) states(snapshot *probe.Snapshot, now time.Time) *replica.GatewayStates {
	found := statesOf(snapshot)
	if t.settled {
		return found
	}
	if t.inherited == nil {
		t.inherited, _ = t.board.Gateways()
	}
	if targets := t.wanted.Load(); targets != nil {
		if t.began.IsZero() {
			t.began = now
		}
		t.settled = now.Sub(t.began) >= t.patience() || decided(*targets, snapshot)
	}
	switch {
	case t.settled:
		return found
	case t.inherited == nil:
		return nil
	}
	return found.Or(t.inherited)
}

// patience is how long we may take for our own verdicts: what a first one takes
// at most, of a gateway that is dead.
func (t *tenure) patience() time.Duration {
	h := t.health()
	own := h.Interval*time.Duration(h.Unhealthy+1) + time.Second
	if t.inherited != nil {
		return max(own, inheritTime)
	}
	return own
}

// decided tells whether there is a verdict on each target, of one that is a host
// name on all the addresses found, of which there must be one.
func decided(targets []probe.Target, snapshot *probe.Snapshot) bool {
	type place struct {
		cluster, host string
		addr          netip.Addr
		port          uint16
	}
	placeOf := func(t probe.Target) place {
		if t.Host != "" {
			t.Addr = netip.Addr{}
		}
		return place{t.Cluster, t.Host, t.Addr, t.Port}
	}
	open := make(map[place]bool, len(targets))
	for _, t := range targets {
		open[placeOf(t)] = true
	}
	for _, results := range snapshot.All() {
		for _, r := range results {
			if r.Status == probe.Unknown {
				return false
			}
			delete(open, placeOf(r.Target))
		}
	}
	return len(open) == 0
}

// statesOf is a snapshot as agents get it. Two host names may lead to one
// address: it is up if either says so, as a client would find it.
func statesOf(snapshot *probe.Snapshot) *replica.GatewayStates {
	clusters := map[string]map[replica.GatewayAddress]replica.GatewayState{}
	for cluster, results := range snapshot.All() {
		states := make(map[replica.GatewayAddress]replica.GatewayState, len(results))
		for _, r := range results {
			at := gatewayAddress(r.Target)
			if r.Status == probe.Unknown || states[at].Up {
				continue
			}
			states[at] = replica.GatewayState{Known: true, Up: r.Status == probe.Up, RTT: r.RTT.Smoothed}
		}
		clusters[cluster] = states
	}
	return replica.NewGatewayStates(clusters)
}
