package replica

import (
	"context"
	"errors"
	"strings"
	"time"
)

// Who answers pulls slowly, or not at all, must not keep all slots from those
// who do. A slot is given for a source: the cluster whose watchers the attempt
// goes to first.
const (
	// sourcePulls of the slots may be for one source; as many as claims may
	// have for one whose last answer was good: a watcher that starts pulls all
	// parts from the first peer that it meets, and over 100 ms each slot brings
	// five a second.
	sourcePulls     = 2
	goodSourcePulls = claimedPulls
	// slowPulls of the slots may be for sources that were slow lately, all of
	// them together.
	slowPulls = parallelPulls / 2
	// slowFor is how long a source is remembered as slow.
	slowFor = time.Minute
	// slowAttempt is how long an attempt that failed must have taken for its
	// source to be called slow: it was let hang, in whatever way.
	slowAttempt = 3 * time.Second
	// stallTime is how long a pull may go without progress. With minProgress
	// that wants 3 KB/s: a tenth of what a watcher may use all the time
	// (DESIGN section 10).
	stallTime = 5 * time.Second
	// minProgress is what must have come within stallTime, less than pullChunk.
	minProgress = 16 << 10
)

// errStalled means that a pull's source sent too little for too long.
var errStalled = errors.New("source of the pull sends nothing")

// source is the cluster whose watchers the next attempt goes to, "" when it is
// anybody.
func (w *want) source(cluster string) string {
	switch {
	case w.attempt > 0:
		return ""
	case w.hint != "":
		_, cluster, _ = strings.Cut(w.hint, ".")
	}
	return cluster
}

// occupancy is who the running pulls are for.
type occupancy struct {
	claims, slow int
	bySource     map[string]int
}

func (p *puller) occupiedLocked(now time.Time) occupancy {
	o := occupancy{bySource: map[string]int{}}
	for _, w := range p.wants {
		if !w.running {
			continue
		}
		if !w.proven {
			o.claims++
		}
		if p.slow[w.from].After(now) {
			o.slow++
		}
		o.bySource[w.from]++
	}
	return o
}

// hasRoomLocked tells whether a want may have a slot. An agent has one source,
// and trusts it.
func (p *puller) hasRoomLocked(o occupancy, cluster string, w *want, now time.Time) bool {
	if !w.proven && o.claims >= claimedPulls {
		return false
	}
	source := w.source(cluster)
	if p.store.follows || source == "" {
		return true
	}
	if p.slow[source].After(now) && o.slow >= slowPulls {
		return false
	}
	most := sourcePulls
	if p.good[source] {
		most = goodSourcePulls
	}
	return o.bySource[source] < most
}

// rateLocked remembers how a source did in an attempt.
func (p *puller) rateLocked(w *want, err error) {
	now, source := time.Now(), w.from
	if source == "" {
		return
	}
	if err == nil {
		delete(p.slow, source)
		if len(p.good) < p.store.limits.Clusters {
			p.good[source] = true
		}
		return
	}
	delete(p.good, source)
	if now.Sub(w.began) < slowAttempt {
		return
	}
	for other, until := range p.slow {
		if len(p.slow) < p.store.limits.Clusters {
			break
		}
		if !until.After(now) {
			delete(p.slow, other)
		}
	}
	if len(p.slow) < p.store.limits.Clusters {
		p.slow[source] = now.Add(slowFor)
	}
}

// watchdog ends a pull that makes no progress.
type watchdog struct {
	timer  *time.Timer
	octets int // since the timer was set
}

// watched makes a watchdog and the context that it ends, with errStalled as the
// cause.
func watched(ctx context.Context) (context.Context, *watchdog, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	w := &watchdog{timer: time.AfterFunc(stallTime, func() { cancel(errStalled) })}
	return ctx, w, func() {
		w.timer.Stop()
		cancel(nil)
	}
}

// progressed notes that a message has come.
func (w *watchdog) progressed(octets int) {
	if w.octets += octets; w.octets >= minProgress {
		w.octets = 0
		w.timer.Reset(stallTime)
	}
}

// addLocked makes a cluster's want if there is room, or if a claim can go for
// it that is worth less.
func (p *puller) addLocked(cluster string, proven bool) *want {
	if len(p.wants) >= p.store.limits.Clusters && !p.evictLocked(cluster, proven) {
		p.full()
		return nil
	}
	w := &want{}
	p.wants[cluster] = w
	return w
}

// evictLocked drops some claim that is not being pulled. What is proven may take
// the place of any; a claim about a cluster that we know, that of one about a
// cluster that nobody may have.
func (p *puller) evictLocked(newcomer string, proven bool) bool {
	if !proven && p.store.heads.get(newcomer) == nil {
		return false
	}
	for cluster, w := range p.wants {
		if !w.proven && !w.running && (proven || p.store.heads.get(cluster) == nil) {
			delete(p.wants, cluster)
			return true
		}
	}
	return false
}
