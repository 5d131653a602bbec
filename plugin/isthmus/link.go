package isthmus

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/isthmus-dns/isthmus/discovery"
)

// linger is how long a link outlives its last stanza: longer than a reload
// takes, and long enough that an operator who broke the Corefile and mends it
// finds the table warm.
const linger = 30 * time.Second

// links are the links of this process.
var links = newRegistry(linger)

// registry shares links between stanzas and across reloads. CoreDNS starts the
// stanzas of a new Corefile before it stops those of the old one, so counting
// references keeps a link that both use.
//
// It owns the goroutines of its links: a link runs from the first start of a
// stanza until linger after the last stop, or until closeIdle.
type registry struct {
	linger time.Duration

	mu    sync.Mutex
	links map[linkConfig]*sharedLink // guarded by mu
	// epoch counts reloads. A reload that fails after its stanzas were started
	// never stops them; by the epoch the old stanzas' failure hook finds them.
	epoch     int
	reloading bool
	said      memory // guarded by mu
}

// sharedLink is a link and all that lives as long as it does.
type sharedLink struct {
	link
	cfg     linkConfig
	names   *resolver
	outlook *outlook
	// reverse names addresses while a holder has a reverse zone.
	reverse *reverser
	run     func(context.Context) error

	// Guarded by the registry's mu.
	holders map[*holder]struct{}
	views   map[discovery.Locality]*viewpoint
	idle    *time.Timer
	cancel  context.CancelFunc // nil while it doesn't run
	done    chan struct{}      // closed when what cancel ends has ended
}

// holder is one started stanza.
type holder struct {
	shared  *sharedLink
	epoch   int
	reverse bool // it has a reverse zone
}

func newRegistry(linger time.Duration) *registry {
	return &registry{linger: linger, links: map[linkConfig]*sharedLink{}, said: memory{}}
}

// prepare finds or opens the link of a configuration without starting it. If
// nobody acquires it, it is forgotten after linger.
func (r *registry) prepare(cfg linkConfig) (*sharedLink, error) {
	if s := r.find(cfg); s != nil {
		return s, nil
	}
	l, run, err := open(cfg, newLogger())
	if err != nil {
		return nil, err
	}
	names := newResolver(l.Table(), systemLookup, newLogger())
	s := &sharedLink{
		link:    l,
		cfg:     cfg,
		names:   names,
		outlook: newOutlook(l, newLogger()),
		reverse: newReverser(l, names, newLogger()),
		run:     run,
		holders: map[*holder]struct{}{},
		views:   map[discovery.Locality]*viewpoint{},
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.links[cfg] = s // CoreDNS sets stanzas up one after the other
	r.armLocked(s)
	return s, nil
}

func (r *registry) find(cfg linkConfig) *sharedLink {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.links[cfg]
	if s != nil {
		r.armLocked(s)
	}
	return s
}

// viewpoint returns the link's viewpoint at a locality.
func (r *registry) viewpoint(s *sharedLink, where discovery.Locality) *viewpoint {
	r.mu.Lock()
	defer r.mu.Unlock()
	v, ok := s.views[where]
	if !ok {
		v = &viewpoint{link: s.link, names: s.names, outlook: s.outlook, reverse: s.reverse, locality: where}
		s.views[where] = v
	}
	return v
}

// acquire starts the link unless it runs, and holds it until release.
func (r *registry) acquire(s *sharedLink) (*holder, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.links[s.cfg] != s {
		return nil, fmt.Errorf("link to watchers %s: start took longer than %v, try again", s.cfg.watchers, r.linger)
	}
	h := &holder{shared: s, epoch: r.epoch}
	s.holders[h] = struct{}{}
	r.armLocked(s)
	if s.cancel == nil {
		ctx, cancel := context.WithCancel(context.Background())
		s.cancel, s.done = cancel, make(chan struct{})
		go s.live(ctx, s.done)
	}
	return h, nil
}

// wantReverse has the link of a holder keep names of addresses.
func (r *registry) wantReverse(h *holder) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, held := h.shared.holders[h]; held && !h.reverse {
		h.reverse = true
		h.shared.reverse.want(+1)
	}
}

// live runs the link and what belongs to it until ctx ends.
func (s *sharedLink) live(ctx context.Context, done chan<- struct{}) {
	defer close(done)
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		if err := s.names.Run(ctx); err != nil {
			log.Errorf("Resolver of gateway host names ended: %v", err)
		}
	})
	wg.Go(func() { s.outlook.Run(ctx) })
	wg.Go(func() { s.reverse.Run(ctx) })
	if err := s.run(ctx); err != nil && ctx.Err() == nil {
		log.Errorf("Link to watchers %s ended, answers stay as they are: %v", s.cfg.watchers, err)
	}
}

// release lets go of a link; twice is once.
func (r *registry) release(h *holder) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.releaseLocked(h)
}

func (r *registry) releaseLocked(h *holder) {
	if h.reverse {
		h.reverse = false
		h.shared.reverse.want(-1)
	}
	delete(h.shared.holders, h)
	r.armLocked(h.shared)
}

// armLocked starts the linger of a link without holders and stops that of a
// link with holders.
func (r *registry) armLocked(s *sharedLink) {
	if s.idle != nil {
		s.idle.Stop()
		s.idle = nil
	}
	if len(s.holders) > 0 {
		return
	}
	var timer *time.Timer
	timer = time.AfterFunc(r.linger, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		// A timer that was stopped too late must not close what was taken up
		// again meanwhile.
		if s.idle == timer {
			r.closeLocked(s)
		}
	})
	s.idle = timer
}

// closeLocked ends a link and forgets it. The returned channel closes when
// its goroutines are gone; it is nil when there were none.
func (r *registry) closeLocked(s *sharedLink) <-chan struct{} {
	if s.idle != nil {
		s.idle.Stop()
		s.idle = nil
	}
	if r.links[s.cfg] == s {
		delete(r.links, s.cfg)
	}
	if s.cancel == nil {
		return nil
	}
	s.cancel()
	s.cancel = nil
	return s.done
}

// beginReload notes that stanzas which start from now on belong to a new
// Corefile. Each stanza of the old one calls it.
func (r *registry) beginReload() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.reloading {
		r.reloading = true
		r.epoch++
	}
}

// news returns those of a stanza's remarks that the Corefile before this one
// did not deserve.
func (r *registry) news(remarks []string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.said.news(r.epoch, remarks)
}

// endReload tells how the reload went. After a failure the stanzas of the new
// Corefile are gone without having been stopped.
func (r *registry) endReload(failed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.reloading {
		return
	}
	r.reloading = false
	if !failed {
		return
	}
	for _, s := range r.links {
		for h := range s.holders {
			if h.epoch == r.epoch {
				r.releaseLocked(h)
			}
		}
	}
}

// closeIdle ends all links without holders now and waits for their goroutines,
// at most as long as ctx allows.
func (r *registry) closeIdle(ctx context.Context) error {
	var ending []<-chan struct{}
	r.mu.Lock()
	for _, s := range r.links {
		if len(s.holders) == 0 {
			if done := r.closeLocked(s); done != nil {
				ending = append(ending, done)
			}
		}
	}
	r.mu.Unlock()
	for _, done := range ending {
		select {
		case <-done:
		case <-ctx.Done():
			return fmt.Errorf("link to watchers: %w", context.Cause(ctx))
		}
	}
	return nil
}
