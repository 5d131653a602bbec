package kube

import (
	"context"
	"log/slog"
	"time"

	"golang.org/x/time/rate"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/cache"

	"github.com/isthmus-dns/isthmus/discovery"
)

const (
	// reportPause lets changes gather: a Service that is made with its load
	// balancer is Pending for moments only.
	reportPause = time.Second
	// reportEvery is how often everything is looked at: for what other clusters
	// export, and for what could not be written.
	reportEvery = 30 * time.Second
	// reportBatch bounds one round, so that it ends in seconds.
	reportBatch = 500
	// writes bounds what is written a second: 2,000 ServiceExports that are made
	// at once have their conditions after 100 s, and the API server has other
	// things to do.
	writes, writeBurst = 20, 100
	// contested is how long conditions that somebody else has changed back stay
	// as they are: two implementations of the Multi-Cluster Services API would
	// write against each other for ever.
	contested = 10 * time.Minute
)

// Report tells the owners of declared Services what became of them: conditions
// on ServiceExports, and Events on Services. It is for the replica that leads,
// until ctx ends. Nothing is written that is there already, and no more than
// some writes a second; without the right to write it says so once and goes on.
func (s *Source) Report(ctx context.Context) {
	select {
	case <-s.first: // else all that was exported long ago would be news
	case <-ctx.Done():
		return
	}
	r := newReporter(s)
	defer s.metrics.conflicts.Set(0)
	// Those that are exported already were so before: only what is wrong is news.
	for key := range s.verdicts.snapshot() {
		r.told[key] = told{eventExported: "exported to the other clusters"}
	}
	s.verdicts.lookAtAll()
	tick := time.NewTicker(reportEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.verdicts.lookAtAll()
		case <-s.verdicts.wake:
		}
		if !pause(ctx, reportPause) {
			return
		}
		r.round(ctx)
	}
}

// reporter is one term of Report.
type reporter struct {
	source    *Source
	limit     *rate.Limiter
	told      tellings
	wrote     map[cache.ObjectName]writing
	paces     map[cache.ObjectName]*rate.Limiter
	conflicts map[cache.ObjectName]bool
	barred    map[string]time.Time // what is forbidden, and until when it is not tried
	forbidden bool                 // and it was logged
	failing   bool                 // the API server takes nothing at the moment, and it was logged
	refused   bool                 // it takes some objects not, and it was logged
}

func newReporter(s *Source) *reporter {
	return &reporter{
		source: s, limit: rate.NewLimiter(writes, writeBurst), told: tellings{}, wrote: map[cache.ObjectName]writing{},
		paces: map[cache.ObjectName]*rate.Limiter{}, conflicts: map[cache.ObjectName]bool{}, barred: map[string]time.Time{},
	}
}

// writing is what was written into a ServiceExport last.
type writing struct {
	print [32]byte
	at    time.Time
}

func (r *reporter) round(ctx context.Context) {
	w := r.source.watching.Load()
	if w == nil {
		return
	}
	keys := r.source.verdicts.take(reportBatch)
	for i, key := range keys {
		if ctx.Err() != nil || !r.look(ctx, w, key) {
			for _, rest := range keys[i:] { // no more for now
				r.source.verdicts.again(rest)
			}
			return
		}
	}
	if len(keys) == reportBatch {
		r.source.verdicts.poke()
	}
}

// look brings what is said of one Service up to date; false when nothing more
// may be written at the moment.
func (r *reporter) look(ctx context.Context, w *watch, key cache.ObjectName) bool {
	v, reached := r.source.verdicts.get(key)
	var conflict, message string
	if v != nil && v.exported && r.source.cfg.Conflict != nil {
		conflict, message = r.source.cfg.Conflict(discovery.MakeKey(key.Namespace, key.Name))
	}
	r.count(key, conflict != "")
	reached = reached || r.source.cfg.Options.SharesNetwork
	if v == nil {
		delete(r.told, key)
		delete(r.wrote, key)
		delete(r.paces, key)
		return true
	}
	return r.condition(ctx, w, key, v, reached, conflict, message) && r.events(ctx, w, key, notes(v, reached, conflict, message))
}

func (r *reporter) count(key cache.ObjectName, conflict bool) {
	if conflict {
		r.conflicts[key] = true
	} else {
		delete(r.conflicts, key)
	}
	r.source.metrics.conflicts.Set(float64(len(r.conflicts)))
}

// condition writes a ServiceExport's conditions where they differ.
func (r *reporter) condition(ctx context.Context, w *watch, key cache.ObjectName, v *verdict, reached bool, conflict, message string) bool {
	e := w.kinds.named(key)
	if e == nil {
		return true
	}
	want := conditions(v, reached, conflict, message)
	all, changed := merged(e, want)
	if !changed {
		return true
	}
	mine := writing{print: fingerprint(want), at: time.Now()}
	if last := r.wrote[key]; last.print == mine.print && time.Since(last.at) < contested {
		return true // the informer has not seen it yet, or somebody thinks otherwise
	}
	version := w.kinds.exportVersion()
	if version == "" {
		return true
	}
	if t := r.turn(key, writesConditions); t != turnNow {
		return t == turnLater
	}
	if r.written(r.source.writeConditions(ctx, version, e, all), writesConditions, key) {
		r.wrote[key] = mine
	}
	return !r.failing
}

// events says what is new of a Service.
func (r *reporter) events(ctx context.Context, w *watch, key cache.ObjectName, all []note) bool {
	about, ok := w.about(key)
	if !ok {
		return true
	}
	said := r.told[key]
	if said == nil {
		said = told{}
		r.told[key] = said
	}
	said.forget(all)
	for _, n := range all {
		if said[n.reason] == n.text {
			continue
		}
		if t := r.turn(key, writesEvents); t != turnNow {
			return t == turnLater
		}
		if !r.written(r.source.writeEvent(ctx, about, n), writesEvents, key) {
			return !r.failing
		}
		said[n.reason] = n.text
	}
	return true
}

// written notes how a write went; false when it has to be tried again: with the
// next look at everything, or soon while nothing can be written.
func (r *reporter) written(err error, what string, key cache.ObjectName) bool {
	if err == nil {
		r.failing = false
		r.source.metrics.reports.WithLabelValues("ok").Inc()
		return true
	}
	r.source.metrics.reports.WithLabelValues("error").Inc()
	about := []any{slog.String("what", what), slog.String("namespace", key.Namespace), slog.String("name", key.Name), slog.Any("error", err)}
	away := unreachable(err) || apierrors.IsTooManyRequests(err) || apierrors.IsServerTimeout(err)
	switch {
	case away && !r.failing:
		r.source.log.Info("what became of a Service not told, trying again", about...)
	case away, apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause), apierrors.IsConflict(err): // known, or it has changed or goes
	case apierrors.IsForbidden(err):
		r.barred[what] = time.Now().Add(barredFor)
		if !r.forbidden {
			r.forbidden = true
			r.source.log.Warn("what became of Services can't be told: let the ClusterRole isthmus-watcher patch serviceexports/status "+
				"and create events (deploy/base/rbac.yaml)", slog.String("what", what), slog.Any("error", err))
		}
	case !r.refused && !apierrors.IsNotFound(err):
		r.refused = true
		r.source.log.Warn("what became of a Service is refused by the API server; this is said once", about...)
	}
	r.failing = away
	return false
}
