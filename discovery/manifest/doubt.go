package manifest

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// A directory in the middle of a change says things that nobody meant. Here
// is what is not believed at once: an answer a moment old is better than one
// that takes a service away by mistake.
const (
	// emptyHold is how long a file that had objects may be empty before it
	// counts as broken: mostly it is being written.
	emptyHold = 500 * time.Millisecond
	// emptyRetry is how often it is looked at meanwhile.
	emptyRetry = 20 * time.Millisecond
	// removeHold is how long a deletion waits while others go on: they may be
	// those of the whole directory.
	removeHold = time.Second
	// returnQuiet is how long a directory that came back must be without
	// events: its files come one by one.
	returnQuiet = 250 * time.Millisecond
	// returnMax ends that wait in a directory that is never quiet.
	returnMax = 5 * time.Second
)

// tooEarly tells that a file that is due says nothing reliable yet, and when
// to look again.
func (r *run) tooEarly(p pending, now time.Time) (until time.Time, wait bool) {
	if len(r.files.inv.byFile[p.name]) == 0 {
		return time.Time{}, false // there is nothing to lose
	}
	info, err := os.Stat(filepath.Join(r.dir, p.name))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		wait = now.Sub(r.lastRemove) < settleQuiet && now.Sub(p.first) < removeHold
		return r.lastRemove.Add(settleQuiet), wait
	case err == nil && info.Mode().IsRegular() && info.Size() == 0:
		return now.Add(emptyRetry), now.Sub(p.first) < emptyHold
	}
	return time.Time{}, false
}

// open begins to watch; false when there is no directory to watch.
func (r *run) open() bool {
	w, noEvents, err := openWatch(r.dir)
	if err != nil {
		r.failed(err)
		return false
	}
	if noEvents != nil {
		r.log.Warn("no file events, looking at all files every second", "error", noEvents)
	}
	r.watch = w
	r.lastEvent = time.Now()
	return true
}

func (r *run) unwatch() {
	if r.watch == nil {
		return
	}
	if err := r.watch.close(); err != nil {
		r.log.Warn("file watch did not close", "error", err)
	}
	r.watch = nil
}

// begin reads the directory, unless it is empty where there were manifests
// before the process started: a volume that is mounted late, a checkout that is
// not done. Then it is one that came back.
func (r *run) begin() {
	if found, err := listDir(r.dir); err == nil && len(found) == 0 && len(r.files.kept.names()) > 0 {
		r.returned = time.Now()
		return
	}
	r.scan()
}

// lost forgets what was due: that files are gone says nothing now.
func (r *run) lost(why string) {
	r.unwatch()
	r.settler.clear()
	r.nextLook = time.Time{}
	r.log.Error("manifest directory is lost, its last state stays", "reason", why)
}

// reopen looks for a directory that was lost.
func (r *run) reopen(now time.Time) {
	if r.open() {
		r.returned = now
		r.log.Info("manifest directory is back")
	}
}

// settleReturn reads a directory that came back, once its files have. An empty
// one is not believed: it says that somebody is at work on it, not that a
// cluster has no services.
func (r *run) settleReturn(now time.Time) {
	if now.Sub(r.lastEvent) < returnQuiet && now.Sub(r.returned) < returnMax {
		return
	}
	found, err := listDir(r.dir)
	if err != nil {
		r.failed(err)
		return
	}
	if len(found) == 0 {
		r.failed(errEmptyReturn)
		return
	}
	r.returned = time.Time{}
	r.settler.clear()
	r.scan()
}

var errEmptyReturn = errors.New("manifest directory is empty, and was not: waiting for a manifest")

// failed logs an error of the directory, each once until it is over: it is
// tried again soon and often.
func (r *run) failed(err error) {
	if text := err.Error(); text != r.lastError {
		r.lastError = text
		r.log.Error("manifest directory can't be read", "error", err)
	}
}
