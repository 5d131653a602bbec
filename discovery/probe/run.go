package probe

import (
	"container/heap"
	"context"
	"errors"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"
)

const (
	// Checks start at most burst times as often as all targets at their
	// interval need: room for those in doubt, which are checked twice as
	// often, and for new ones.
	burst = 3
	// minRate is how many checks a second may always start.
	minRate = 100
	// newcomers is the time between the first checks of two new targets, when
	// they are few.
	newcomers = 10 * time.Millisecond
	// credit is how much of the time between two starts may be made up for
	// when a timer came late.
	credit = 10 * time.Millisecond
	// maxBehind bounds how long a cluster's newcomers wait. It is for one that
	// changes its targets all the time.
	maxBehind = time.Minute
)

func randomFloat() float64 { return rand.Float64() }

// Run checks until ctx ends, and returns when all its goroutines have and no
// connection is open. Only one Run may work at a time. After a pause it goes on
// with the states that it knew, and counts results anew.
func (p *Prober) Run(ctx context.Context) error {
	if !p.begin() {
		return errors.New("prober: Run is running")
	}
	var checks sync.WaitGroup
	defer p.end()
	defer checks.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		next, wait := p.step(time.Now())
		if next != nil {
			checks.Go(func() { p.work(ctx, next) })
			continue
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		case <-p.wake:
		}
	}
}

// begin schedules everything as if it were new.
func (p *Prober) begin() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running {
		return false
	}
	p.running = true
	now := time.Now()
	p.starts = now
	for _, g := range p.groups {
		g.newcomer = now
		p.scheduleLookupLocked(g)
		for _, probe := range g.probes {
			probe.record.forget()
			p.introduceLocked(probe, now, p.targets)
		}
	}
	return true
}

func (p *Prober) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.running = false
	p.queue = nil
	for _, g := range p.groups {
		g.names.job.index = 0
		for _, probe := range g.probes {
			probe.job.index = 0
		}
	}
	p.publishLocked(time.Now())
}

// introduceLocked schedules the first check of one of so many new targets:
// soon, but after the newcomers of its cluster before it.
func (p *Prober) introduceLocked(probe *probed, now time.Time, among int) {
	g := probe.group
	due := g.newcomer
	if due.Before(now) {
		due = now
	}
	// A cluster's own pace: all that it may have, in one interval.
	step := probe.health.Interval / time.Duration(p.policy.Limits.PerCluster)
	if due.Sub(now) < maxBehind {
		g.newcomer = due.Add(step)
	}
	// All together are spread over no more than an interval.
	spread := min(newcomers*time.Duration(among), probe.health.period())
	p.queue.at(&probe.job, due.Add(time.Duration(p.cfg.Random()*float64(spread))))
}

// scheduleLookupLocked puts a cluster's next lookup in the queue.
func (p *Prober) scheduleLookupLocked(g *group) {
	name, due := g.names.next()
	switch {
	case name == "":
		p.queue.remove(&g.names.job)
	case p.running && !g.names.busy:
		p.queue.at(&g.names.job, due)
	}
}

// step publishes what is due to be, and takes the job that is to start now.
// Without one it says how long there is nothing to do.
func (p *Prober) step(now time.Time) (next *job, wait time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	wait = time.Hour
	for due, pending := p.publicationLocked(); pending; due, pending = p.publicationLocked() {
		if now.Before(due) {
			wait = due.Sub(now)
			break
		}
		p.publishLocked(now) // what has to wait makes another one due later
	}
	if len(p.queue) == 0 || p.inFlight >= p.policy.Limits.InFlight {
		return nil, wait // whoever changes that wakes us
	}
	due := p.queue[0].due
	if p.starts.After(due) {
		due = p.starts
	}
	if now.Before(due) {
		return nil, min(wait, due.Sub(now))
	}
	if earliest := now.Add(-credit); p.starts.Before(earliest) {
		p.starts = earliest
	}
	p.starts = p.starts.Add(p.paceLocked())
	next = heap.Pop(&p.queue).(*job)
	p.inFlight++
	if next.lookup != nil {
		next.lookup.names.busy = true
	}
	return next, 0
}

// paceLocked is the time between two starts.
func (p *Prober) paceLocked() time.Duration {
	return time.Duration(float64(time.Second) / max(minRate, burst*p.demand))
}

// work does a job and schedules the next of its kind.
func (p *Prober) work(ctx context.Context, j *job) {
	if j.lookup != nil {
		p.lookup(ctx, j.lookup)
	} else {
		p.check(ctx, j.probe)
	}
	p.poke()
}

func (p *Prober) check(ctx context.Context, probe *probed) {
	p.mu.Lock()
	c := checker{dial: p.cfg.Dial, roots: p.policy.Roots}
	timeout := probe.health.Timeout
	p.mu.Unlock()

	start := time.Now()
	r := c.check(ctx, probe.target, timeout)
	now := time.Now()
	// A check that took so much longer than it may means that this process stood
	// still. Nobody read what may have come, and the peer may have given us up
	// meanwhile; nor is any of that time a distance.
	if now.Sub(start) > timeout+grace {
		r.rtt = 0
		if r.outcome != good {
			r.outcome = ours
		}
	}

	if p.take(ctx, probe, r, start, now) {
		p.logChange(probe.target, r)
	}
}

// take takes a check's result in, schedules the next, and tells whether there
// is a change to log.
func (p *Prober) take(ctx context.Context, probe *probed, r result, start, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.inFlight--
	if probe.gone || ctx.Err() != nil {
		return false
	}
	p.metrics.count(probe.target.Check, r)
	was := probe.record.status
	p.storeLocked(probe, r, now)
	p.queue.at(&probe.job, probe.record.next(start, probe.health, p.policy.Damping, p.cfg.Random()))
	// That a new target is up changes no answer.
	return probe.record.status != was && (was != Unknown || r.outcome != good)
}

func (p *Prober) storeLocked(probe *probed, r result, now time.Time) {
	rec := &probe.record
	if r.rtt > 0 {
		rec.rtt = rec.rtt.Add(r.rtt)
	}
	if r.detail != probe.detail {
		probe.detail = r.detail
		p.markLocked(probe.group, false)
	}
	switch {
	case r.outcome == ours:
	case rec.observe(now, r.outcome == good, probe.health, p.policy.Damping):
		p.metrics.change(rec.status)
		p.markLocked(probe.group, true)
	case rec.rtt.moved(probe.told.state.RTT):
		p.markLocked(probe.group, false)
	}
}

// logChange logs a change of status to what a check has just found.
func (p *Prober) logChange(t Target, r result) {
	args := []any{"cluster", t.Cluster, "address", t.Addr, "port", t.Port}
	if t.Host != "" {
		args = append(args, "host", t.Host)
	}
	if t.Key != "" {
		args = append(args, "key", t.Key)
	}
	if r.outcome == good {
		p.log.Info("target is up", args...)
	} else {
		p.log.Warn("target is down", append(args, "error", r.detail)...)
	}
}

// lookup looks the name of a cluster up that is due first.
func (p *Prober) lookup(ctx context.Context, g *group) {
	p.mu.Lock()
	name, _ := g.names.next() // "" when the last one has just gone
	p.mu.Unlock()
	lookupCtx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	var found []netip.Addr
	var err error
	if name != "" {
		found, err = p.cfg.Resolve(lookupCtx, name)
	}

	if p.learn(ctx, g, name, found, err) {
		p.log.Warn("gateway host name not resolved", "cluster", g.cluster, "host", name, "error", err)
	}
}

// learn takes a lookup's result in, schedules the next, and tells whether it is
// the first one that failed.
func (p *Prober) learn(ctx context.Context, g *group, name string, found []netip.Addr, err error) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.inFlight--
	g.names.busy = false
	if ctx.Err() != nil || p.groups[g.cluster] != g {
		return false
	}
	now := time.Now()
	failsFirst := err != nil && g.names.failsFirst(name)
	if g.names.store(name, found, err, now) {
		g.expand(p.policy.Limits.PerCluster, p.policy.Fit)
		p.settleLocked(now)
	}
	p.scheduleLookupLocked(g)
	return failsFirst
}
