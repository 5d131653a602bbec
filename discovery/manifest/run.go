package manifest

import (
	"context"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/isthmus-dns/isthmus/discovery"
)

const (
	// lookEvery is how often the path is compared with the directory that is
	// watched (a link that was swung elsewhere causes no event), and how often
	// all files are looked at where the system gives no events.
	lookEvery = time.Second
	// retryEvery is how often a lost directory is looked for.
	retryEvery = 50 * time.Millisecond
)

// run is one run of a source. Everything happens in one goroutine.
type run struct {
	*Source
	files   *files
	part    *part
	settler *settler
	emit    func(discovery.Update)

	watch      *watch    // nil while the directory is lost
	nextLook   time.Time // when tick has something to do, events or not
	lastScan   time.Time
	lastEvent  time.Time
	lastRemove time.Time
	returned   time.Time // when a lost directory came back; zero once it is read
	started    bool      // the whole part was emitted
	lastError  string    // of the directory, so that each is logged once
}

func (r *run) loop(ctx context.Context) error {
	if r.open() {
		r.begin()
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		timer.Reset(time.Until(r.wake()))
		events, faults := r.watch.events()
		select {
		case <-ctx.Done():
			return nil
		case event, ok := <-events:
			r.event(event, ok)
		case err, ok := <-faults:
			r.fault(err, ok)
		case <-r.refresh:
			r.publishCluster()
		case <-timer.C:
			r.drain()
			r.tick(time.Now())
		}
	}
}

// wake is when tick has something to do next.
func (r *run) wake() time.Time {
	if due := r.settler.wake; r.returned.IsZero() && !due.IsZero() && due.Before(r.nextLook) {
		return due
	}
	return r.nextLook
}

// event notes what happened; nothing is read before it has settled.
func (r *run) event(event fsnotify.Event, ok bool) {
	if !ok {
		r.lost("its watch ended")
		return
	}
	now := time.Now()
	r.lastEvent = now
	gone := event.Has(fsnotify.Remove) || event.Has(fsnotify.Rename)
	if event.Name == r.dir {
		if gone {
			r.lost("it was removed or renamed")
		}
		return
	}
	if gone {
		r.lastRemove = now
	}
	switch name := filepath.Base(event.Name); {
	case name == dataLink:
		r.settler.touch(rescan, now)
	case isManifest(name):
		r.settler.touch(name, now)
	}
}

// fault is an overflow of the kernel's queue or a failed read: events are
// lost, and nobody knows which.
func (r *run) fault(err error, ok bool) {
	if !ok {
		r.lost("its watch ended")
		return
	}
	r.log.Warn("file watch lost events", "error", err)
	r.settler.touch(rescan, time.Now())
}

// drain takes the events that are there already, so that a file is not read
// when one of them says that the directory is going away.
func (r *run) drain() {
	for range watchBuffer {
		events, _ := r.watch.events()
		select {
		case event, ok := <-events:
			r.event(event, ok)
		default:
			return
		}
	}
}

func (r *run) tick(now time.Time) {
	if !now.Before(r.nextLook) {
		r.nextLook = now.Add(lookEvery)
	}
	switch {
	case r.watch == nil:
		r.nextLook = now.Add(retryEvery)
		r.reopen(now)
	case !r.watch.current():
		r.lost("its path names another directory or none")
	case !r.returned.IsZero():
		r.nextLook = now.Add(retryEvery)
		r.settleReturn(now)
	default:
		r.read(now)
	}
}

// read reads the files that are due and emits what came of it.
func (r *run) read(now time.Time) {
	due := r.settler.take(now)
	if len(due) > 0 && due[0].name == rescan || now.Sub(r.lastScan) >= r.scanEvery() {
		r.scan()
		return
	}
	for _, p := range due {
		if until, wait := r.tooEarly(p, now); wait {
			r.settler.postpone(p, until)
			continue
		}
		r.files.load(p.name)
	}
	// While files were read the directory may have gone, and with it the
	// files that now seem deleted.
	if len(due) > 0 && r.watch.current() {
		r.publish()
	}
}

func (r *run) scanEvery() time.Duration {
	if r.watch.fs == nil || r.lastError != "" {
		return min(lookEvery, r.rescanEvery)
	}
	return r.rescanEvery
}

// scan reads all that changed.
func (r *run) scan() {
	r.lastScan = time.Now()
	if err := r.files.scan(); err != nil {
		r.failed(err)
		return
	}
	r.lastError = ""
	r.publish()
}

func (r *run) publish() {
	if update, news := r.part.update(r.files.inv, !r.started); news {
		r.started = true
		r.emit(update)
	}
}

// publishCluster emits the cluster's record alone: while the directory is lost,
// what is known of Services may be half of it. Before the whole part was
// emitted there is nothing to mend.
func (r *run) publishCluster() {
	var update discovery.Update
	if !r.started {
		return
	}
	if r.part.record(r.files.inv, &update, false); update.Cluster != nil {
		r.emit(update)
	}
}
