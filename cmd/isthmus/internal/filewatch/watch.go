package filewatch

import (
	"log/slog"
	"path/filepath"

	"github.com/fsnotify/fsnotify"
)

// watch is fsnotify's view of a folder. Nothing here is fatal: without events
// the file is read every second.
type watch struct {
	fs  *fsnotify.Watcher // nil: the system gives no events
	dir string
}

func (f *File) open() *watch {
	w := &watch{dir: filepath.Dir(f.Path)}
	if f.Log == nil {
		f.Log = slog.New(slog.DiscardHandler)
	}
	var err error
	if w.fs, err = fsnotify.NewWatcher(); err == nil {
		err = w.fs.Add(w.dir)
	}
	if err != nil {
		f.Log.Warn("no file events, looking every second", "file", f.Path, "error", err)
	}
	return w
}

// events are nil, so that they never come, when the system gives none.
func (w *watch) events() (chan fsnotify.Event, chan error) {
	if w.fs == nil {
		return nil, nil
	}
	return w.fs.Events, w.fs.Errors
}

// renew watches a folder again that was gone for a while.
func (w *watch) renew() {
	if w.fs != nil && len(w.fs.WatchList()) == 0 {
		_ = w.fs.Add(w.dir) // tried again with the next look
	}
}

func (w *watch) close() {
	if w.fs != nil {
		_ = w.fs.Close()
		w.fs = nil
	}
}
