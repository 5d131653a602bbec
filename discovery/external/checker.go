package external

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/discovery/probe"
)

// MaxTargets is how many endpoints of all services are checked. Beyond it each
// service gets an equal part, and the rest count as their slices say. At 5 s
// these make 820 checks a second.
const MaxTargets = 4096

// Config is what a Checker needs; all fields but AllowLoopback and Probe are
// required.
type Config struct {
	// Cluster is our own cluster's name.
	Cluster string
	// Emit takes updates in the place of the source's receiver, and owns them.
	// It is called with a lock held, or the older of two updates might come
	// last: it must not wait, nor call back.
	Emit func(discovery.Update)
	// Published is what our cluster published last of a service; nil for
	// nothing known. It must not wait.
	Published func(discovery.Key) *discovery.Service
	// AllowLoopback has endpoints on loopback checked, for the demo and tests.
	AllowLoopback bool
	// Probe is the prober's. Purpose, Limits and Fit are set here.
	Probe probe.Config
}

// Checker is the stage between a source and a publisher. Of services without a
// check it changes nothing. All methods are safe for concurrent use.
type Checker struct {
	cfg     Config
	log     *slog.Logger
	prober  *probe.Prober
	changed chan struct{} // capacity 1: targets may be others

	mu        sync.Mutex
	services  map[discovery.Key]*service // those with a check; guarded by mu, like all below
	inherited time.Time                  // until when services go by what was published; zero: they don't
	leftOut   int                        // endpoints beyond MaxTargets
}

// New makes a checker that checks nothing yet.
func New(cfg Config) (*Checker, error) {
	if cfg.Cluster == "" || cfg.Emit == nil || cfg.Published == nil {
		return nil, errors.New("external endpoints: a field of the configuration is missing")
	}
	cfg.Probe.Purpose = "external"
	cfg.Probe.Policy.Limits = probe.Limits{PerCluster: MaxTargets, Total: MaxTargets}
	// discovery/export has refused these before, and said so.
	cfg.Probe.Policy.Fit = func(a netip.Addr) bool {
		return discovery.Fit(a) || cfg.AllowLoopback && a.Unmap().IsLoopback()
	}
	if cfg.Probe.Logger == nil {
		cfg.Probe.Logger = slog.New(slog.DiscardHandler)
	}
	cfg.Probe.Logger = cfg.Probe.Logger.With("purpose", cfg.Probe.Purpose)
	prober, err := probe.New(cfg.Probe)
	if err != nil {
		return nil, fmt.Errorf("external endpoints: %w", err)
	}
	c := &Checker{
		cfg: cfg, log: cfg.Probe.Logger, prober: prober,
		changed: make(chan struct{}, 1), services: map[discovery.Key]*service{},
	}
	if r := cfg.Probe.Registerer; r != nil {
		if err := r.Register(newCollector(c)); err != nil {
			return nil, fmt.Errorf("external endpoints: %w", err)
		}
	}
	return c, nil
}

// SetHealth changes how often and how patiently endpoints are checked.
func (c *Checker) SetHealth(h probe.Health) error {
	return c.prober.ChangePolicy(func(p *probe.Policy) { p.Health = h })
}

// Health is how often and how patiently endpoints are checked.
func (c *Checker) Health() probe.Health { return c.prober.Policy().Health }

// Update takes what a source emits, and emits it with the services that want a
// check counted by what is known of their endpoints.
func (c *Checker) Update(u discovery.Update) {
	c.mu.Lock()
	defer c.mu.Unlock()
	before := c.services
	if u.Whole {
		c.services = map[discovery.Key]*service{}
	}
	for _, key := range u.Removed {
		delete(c.services, key)
	}
	if len(u.Checks)+len(before) > 0 { // mostly there is nothing to look for
		found := c.prober.Snapshot()
		for i, s := range u.Services {
			key := s.Key()
			check := u.Checks[key]
			if check == nil {
				delete(c.services, key)
				continue
			}
			now := newService(c.cfg.Cluster, s, check, before[key])
			c.services[key] = now
			u.Services[i] = now.judge(found)
		}
		c.poke()
	}
	u.Checks = nil
	c.cfg.Emit(u)
}

// recount emits the services of which checks have found something else.
func (c *Checker) recount() {
	c.mu.Lock()
	defer c.mu.Unlock()
	found := c.prober.Snapshot()
	c.recountLocked(found, func(s *service) bool { return s.overtaken(found) })
}

// recountLocked emits those of some services that come out different.
func (c *Checker) recountLocked(found *probe.Snapshot, some func(*service) bool) {
	var u discovery.Update
	for _, s := range c.services {
		if !some(s) {
			continue
		}
		before := s.emitted
		if next := s.judge(found); !sameEndpoints(before, next) {
			u.Services = append(u.Services, next)
		}
	}
	if len(u.Services) > 0 {
		c.cfg.Emit(u)
	}
}

func (c *Checker) poke() {
	select {
	case c.changed <- struct{}{}:
	default:
	}
}
