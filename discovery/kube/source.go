package kube

import (
	"context"
	"crypto/sha256"
	"log/slog"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/discovery/export"
)

// uidRetry is how soon to ask again for the cluster's UID.
const uidRetry = time.Second

// Run follows the cluster until ctx ends. The first update is Whole and comes
// when everything has been read once; each later one carries what changed.
// While the API server is away nothing is emitted and nothing removed. emit is
// called by one goroutine; while it blocks, changes gather and are merged.
func (s *Source) Run(ctx context.Context, emit func(discovery.Update)) error {
	w, err := s.watch()
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(s.logging(ctx))
	defer cancel()
	wg.Go(func() { w.informers.run(ctx) })
	wg.Go(func() { w.kinds.run(ctx) })
	wg.Go(func() {
		<-ctx.Done()
		w.queue.ShutDown()
	})
	if !w.ready(ctx) {
		return nil
	}
	emit(w.whole())
	s.began()
	s.metrics.updates.Inc()
	s.metrics.synced.Set(1)
	w.work(emit)
	return nil
}

// watch is the state of one Run. All but the queue belongs to its goroutine.
type watch struct {
	source    *Source
	informers *informers
	kinds     *kinds
	// queue holds the names of what changed, each once: it is bounded by the
	// number of Services (and of names that slices and exports claim). It has
	// no rate limit, as making a record can't fail and is never tried again.
	queue *workqueue.Typed[cache.ObjectName]

	uid     string
	options export.Options                         // with the networks that the cluster says are its own
	cluster [sha256.Size]byte                      // of the cluster's record
	sent    map[cache.ObjectName][sha256.Size]byte // of each exported Service
	trouble map[cache.ObjectName]string            // what was last logged of a Service
	// holders are who has the names that ServiceEntries claim.
	holders map[cache.ObjectName]holder
	// setTrouble is what was last logged of gateway sets.
	setTrouble string
}

func (s *Source) watch() (*watch, error) {
	w := &watch{
		source:  s,
		options: s.cfg.Options,
		queue:   workqueue.NewTyped[cache.ObjectName](),
		sent:    map[cache.ObjectName][sha256.Size]byte{},
		trouble: map[cache.ObjectName]string{},
		holders: map[cache.ObjectName]holder{},
	}
	var err error
	if w.informers, err = s.informers(w.queue.Add); err != nil {
		return nil, err
	}
	w.kinds = s.kinds(w.queue.Add, s.refers)
	s.queue.Store(w.queue)
	s.watching.Store(w)
	return w, nil
}

// Refresh has the cluster's own record made anew, because what [Config.Cluster]
// makes it of has changed. It doesn't wait, and does nothing while no Run is
// under way: the next one begins with it.
func (s *Source) Refresh() {
	if queue := s.queue.Load(); queue != nil {
		queue.Add(clusterRecord)
	}
}

// ready waits until the whole cluster is known; false when ctx ended first.
func (w *watch) ready(ctx context.Context) bool {
	for {
		namespace, err := w.source.cfg.Client.CoreV1().Namespaces().Get(ctx, metav1.NamespaceSystem, metav1.GetOptions{})
		if err == nil {
			w.uid = string(namespace.UID)
			break
		}
		if ctx.Err() == nil {
			w.source.log.Warn("cluster UID not read", slog.Any("error", err))
		}
		if !pause(ctx, uidRetry) {
			return false
		}
	}
	if !w.informers.synced(ctx) {
		return false
	}
	select {
	case <-w.kinds.known:
		return true
	case <-ctx.Done():
		return false
	}
}

// whole is the complete set. Events that came meanwhile stay in the queue and
// find nothing changed.
func (w *watch) whole() discovery.Update {
	u := discovery.Update{Whole: true, Cluster: w.clusterRecord()}
	for _, key := range w.informers.services.GetIndexer().ListKeys() {
		if name, err := cache.ParseObjectName(key); err == nil {
			w.look(name, &u)
		}
	}
	for _, name := range w.kinds.claimed() {
		if w.informers.service(name) == nil { // else it was looked at with its Service
			w.look(name, &u)
		}
	}
	w.count()
	return u
}

// look adds to the update what changed about one Service.
func (w *watch) look(key cache.ObjectName, u *discovery.Update) {
	in := export.Input{
		Service: w.informers.service(key),
		Slices:  w.informers.slicesOf(key),
		Nodes:   w.informers.node,
		Opts:    w.options,
	}
	w.kinds.about(key, &in)
	result := export.Build(in)
	w.tell(key, result)
	w.source.verdicts.note(key, verdictOf(&in, result))
	if entry := w.entry(key, result.Service != nil); entry.Service != nil {
		result = entry
	}
	before, had := w.sent[key]
	if result.Service == nil {
		if had {
			delete(w.sent, key)
			u.Removed = append(u.Removed, discovery.MakeKey(key.Namespace, key.Name))
		}
		return
	}
	meant := !result.Awaits && w.kinds.complete()
	if now := fingerprint([]any{result.Service, result.Check, meant}); !had || now != before {
		w.sent[key] = now
		u.Add(result.Service, result.Check)
		if meant {
			u.Mean(result.Service.Key())
		}
	}
}

// tell logs what the owner of a Service should know, once until it changes.
func (w *watch) tell(key cache.ObjectName, result export.Result) {
	text := strings.Join(result.Problems, "; ")
	if result.Service == nil && !export.Intended(result.Reason) {
		text = strings.TrimSuffix("not exported: "+result.Reason+"; "+text, "; ")
	}
	w.log(serviceTrouble, key, key.Name, text)
}

// trouble is what the log says of a kind of object, written out so that who
// searches the code for it finds it.
type trouble struct{ begins, ends string }

var (
	serviceTrouble = trouble{"Service has a problem", "Service has no problem any more"}
	entryTrouble   = trouble{"ServiceEntry has a problem", "ServiceEntry has no problem any more"}
)

// log says what is wrong with an object, once until it changes.
func (w *watch) log(says trouble, key cache.ObjectName, name, text string) {
	if text == w.trouble[key] {
		return
	}
	about := []any{slog.String("namespace", key.Namespace), slog.String("name", name)}
	if text == "" {
		delete(w.trouble, key)
		w.source.log.Info(says.ends, about...)
		return
	}
	w.trouble[key] = text
	w.source.log.Warn(says.begins, append(about, slog.String("problem", text))...)
}

func (w *watch) count() {
	w.source.metrics.services.Set(float64(len(w.sent)))
	w.source.metrics.problems.Set(float64(len(w.trouble)))
}
