package probe

import (
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/isthmus-dns/isthmus/discovery"
)

// Policy is what can be changed while a prober runs. The zero Policy is
// complete.
type Policy struct {
	Health Health // zero fields take DefaultHealth's
	Limits Limits // zero fields take DefaultLimits'
	// Damping is the shortest time between two changes of one target's status;
	// 0 takes DefaultDamping.
	Damping time.Duration
	// Fit tells which addresses may be connected to; nil is discovery.Fit. It
	// is called with a lock held and must not wait.
	Fit func(netip.Addr) bool
	// Roots verify the certificates of targets that want it; nil is the
	// machine's own.
	Roots *x509.CertPool
}

func (p Policy) withDefaults() Policy {
	p.Health = p.Health.or(DefaultHealth())
	p.Limits = p.Limits.or(DefaultLimits())
	if p.Damping == 0 {
		p.Damping = DefaultDamping
	}
	if p.Fit == nil {
		p.Fit = discovery.Fit
	}
	return p
}

// Validate says what is wrong with a policy.
func (p Policy) Validate() error {
	if p.Damping < 0 {
		return errors.New("damping: want a positive duration")
	}
	return errors.Join(p.Health.Validate(), p.Limits.Validate())
}

// Config is what a Prober needs. The zero Config will do.
type Config struct {
	Policy Policy
	// Purpose tells this prober's metrics from another's of the same process;
	// "" is "gateway".
	Purpose string
	Resolve ResolveFunc // nil asks the machine's resolver
	Dial    DialFunc    // nil opens TCP connections
	// Random is uniform in [0, 1) and safe for concurrent use; nil is
	// math/rand's.
	Random func() float64
	Logger *slog.Logger // nil discards
	// Registerer takes the metrics isthmus_probe_*; nil: they go nowhere.
	Registerer prometheus.Registerer
}

// Prober checks targets while Run runs, and keeps what it found when Run has
// returned. All methods are safe for concurrent use.
type Prober struct {
	cfg     Config
	log     *slog.Logger
	metrics *metrics
	wake    chan struct{} // has room for one
	current atomic.Pointer[Snapshot]

	mu       sync.Mutex
	policy   Policy            // complete; guarded by mu, like all below
	groups   map[string]*group // by cluster
	queue    queue             // empty unless running
	running  bool
	inFlight int
	targets  int       // probes of all groups
	size     int       // how many of a group Limits.Total allows
	demand   float64   // checks a second that all targets need at their interval
	starts   time.Time // when the next check may start

	urgent, lazy bool      // a change waits to be published
	published    time.Time // when that was done last
}

// probed is one target that is checked; guarded by Prober.mu but for target.
type probed struct {
	group  *group
	target Target // its identity
	health Health // complete
	own    Health // as the target brings it
	record record
	detail string // why the last check failed
	told   told
	job    job
	gone   bool
}

// New makes a prober that has no targets and is not running.
func New(cfg Config) (*Prober, error) {
	if err := cfg.Policy.Validate(); err != nil {
		return nil, err
	}
	if cfg.Resolve == nil {
		cfg.Resolve = resolveSystem
	}
	if cfg.Dial == nil {
		cfg.Dial = dialTCP
	}
	if cfg.Random == nil {
		cfg.Random = randomFloat
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	p := &Prober{
		cfg:    cfg,
		log:    cfg.Logger,
		wake:   make(chan struct{}, 1),
		policy: cfg.Policy.withDefaults(),
		groups: map[string]*group{},
	}
	p.current.Store(newSnapshot())
	var err error
	if p.metrics, err = newMetrics(cfg.Registerer, cfg.Purpose, p); err != nil {
		return nil, fmt.Errorf("prober: %w", err)
	}
	return p, nil
}

// Snapshot is the state of all targets as last published. It never waits.
func (p *Prober) Snapshot() *Snapshot { return p.current.Load() }

// SetTargets replaces all targets. What was a target before keeps its state;
// what is none any more is forgotten. The order of a cluster's targets decides
// which ones are left out beyond a limit: the last. Targets that can't be
// checked are left out, too, and counted in isthmus_probe_left_out_targets.
func (p *Prober) SetTargets(targets []Target) {
	lists := map[string][]Target{}
	for _, t := range targets {
		if t.Check != discovery.CheckNone {
			lists[t.Cluster] = append(lists[t.Cluster], t)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for cluster, g := range p.groups {
		if lists[cluster] == nil {
			p.dropLocked(g)
		}
	}
	now := time.Now()
	for cluster, list := range lists {
		g := p.groups[cluster]
		if g == nil {
			g = newGroup(cluster, now)
			p.groups[cluster] = g
		}
		if g.want(list, p.policy.Limits.PerCluster) {
			g.names.keep(g.wanted, now)
			p.scheduleLookupLocked(g)
			g.expand(p.policy.Limits.PerCluster, p.policy.Fit)
		}
	}
	p.settleLocked(now)
}

// Policy is the one in force, with defaults in the place of zero fields.
func (p *Prober) Policy() Policy {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.policy
}

// ChangePolicy changes the policy in force; change is called with a lock held
// and must not wait. On an error the policy stays. States and what was counted
// are kept; checks that are due later than the new interval allows come sooner. A
// greater limit of a cluster takes effect with the next SetTargets.
func (p *Prober) ChangePolicy(change func(*Policy)) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	policy := p.policy
	change(&policy)
	if err := policy.Validate(); err != nil {
		return err
	}
	p.policy = policy.withDefaults()
	now := time.Now()
	for _, g := range p.groups {
		g.expand(p.policy.Limits.PerCluster, p.policy.Fit)
		for _, probe := range g.probes {
			probe.health = healthOf(probe.own, p.policy.Health)
			period := probe.health.period()
			if probe.job.index > 0 && probe.job.due.Sub(now) > period {
				p.queue.at(&probe.job, now.Add(time.Duration(p.cfg.Random()*float64(period))))
			}
		}
	}
	p.settleLocked(now)
	return nil
}

// Adopt takes over what another prober of the same cluster found: of all its
// targets while Run does not run, so that a standby tells the same and doesn't
// take dead gateways for new ones when it takes over, and else of those of which
// nothing is known here yet.
func (p *Prober) Adopt(results []Result) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range results {
		g := p.groups[r.Target.Cluster]
		if g == nil || r.Status >= statuses {
			continue
		}
		probe := g.probes[r.Target.identity()]
		if probe == nil || p.running && (probe.record.status != Unknown || r.Status == Unknown) {
			continue
		}
		probe.record = record{status: r.Status, since: r.Since, rtt: r.RTT}
		probe.detail, probe.told = r.Error, told{state: State{RTT: r.RTT}}
		p.markLocked(g, true)
	}
	if !p.running {
		p.publishLocked(time.Now())
	}
	p.poke()
}

// dropLocked forgets a cluster.
func (p *Prober) dropLocked(g *group) {
	for _, probe := range g.probes {
		p.forgetLocked(probe)
	}
	p.queue.remove(&g.names.job)
	delete(p.groups, g.cluster)
}

// forgetLocked drops a target. A check of it that runs ends by itself, and
// what it finds is nobody's.
func (p *Prober) forgetLocked(probe *probed) {
	probe.gone = true
	p.queue.remove(&probe.job)
	delete(probe.group.probes, probe.target)
	p.markLocked(probe.group, true)
}

// settleLocked brings what is checked in line with the groups' targets, after
// any change to them.
func (p *Prober) settleLocked(now time.Time) {
	needs := make([]int, 0, len(p.groups))
	for _, g := range p.groups {
		needs = append(needs, len(g.expanded))
	}
	size := allotment(needs, p.policy.Limits.Total)
	var added []*probed
	p.targets, p.demand = 0, 0
	for _, g := range p.groups {
		if g.stale || size != p.size {
			added = append(added, p.reconcileLocked(g, size)...)
			g.stale = false
		}
		p.targets += len(g.probes)
		for _, probe := range g.probes {
			p.demand += 1 / probe.health.period().Seconds()
		}
	}
	p.size = size
	if !p.running {
		p.publishLocked(now)
		return
	}
	for _, probe := range added {
		p.introduceLocked(probe, now, len(added))
	}
	p.poke()
}

// reconcileLocked makes the probes of a group those of the first targets of
// its list, and returns the new ones.
func (p *Prober) reconcileLocked(g *group, size int) (added []*probed) {
	list := g.expanded[:min(size, len(g.expanded))]
	keep := make(map[Target]bool, len(list))
	for _, t := range list {
		keep[t.identity()] = true
	}
	for id, probe := range g.probes {
		if !keep[id] {
			p.forgetLocked(probe)
		}
	}
	for _, t := range list {
		id := t.identity()
		probe := g.probes[id]
		if probe == nil {
			probe = &probed{group: g, target: id}
			probe.job.probe = probe
			g.probes[id] = probe
			added = append(added, probe)
			p.markLocked(g, false)
		}
		probe.own, probe.health = t.Health, healthOf(t.Health, p.policy.Health)
	}
	return added
}

// markLocked notes that a group's results have changed. Urgent is what
// changes answers.
func (p *Prober) markLocked(g *group, urgent bool) {
	g.dirty = true
	if urgent {
		p.urgent = true
	} else {
		p.lazy = true
	}
}

func (p *Prober) poke() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}
