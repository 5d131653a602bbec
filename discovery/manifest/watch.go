package manifest

import (
	"errors"
	"fmt"
	"os"

	"github.com/fsnotify/fsnotify"
)

// watch is fsnotify's view of one directory, bound to the directory that
// stood at the path when it began.
type watch struct {
	fs   *fsnotify.Watcher // nil: the system gives no events, so poll
	path string
	info os.FileInfo
}

// errReplaced: between two looks the path came to name another directory.
var errReplaced = errors.New("manifest directory: replaced while the watch began")

// watchBuffer lets the kernel's queue (16,384 events by default) be emptied
// while files are being parsed.
const watchBuffer = 4096

// openWatch starts to watch; fsnotify runs a goroutine until close. When the
// directory is there and only the system's watches are used up, the watch is
// returned without events, together with the reason.
func openWatch(path string) (w *watch, noEvents, err error) {
	if err := checkDir(path); err != nil {
		return nil, nil, err
	}
	w = &watch{path: path}
	if w.info, err = os.Stat(path); err != nil {
		return nil, nil, fmt.Errorf("manifest directory: %w", err)
	}
	if w.fs, err = fsnotify.NewBufferedWatcher(watchBuffer); err != nil {
		return w, fmt.Errorf("file watch: %w", err), nil
	}
	noEvents = w.fs.Add(path)
	if !w.current() {
		return nil, nil, errors.Join(errReplaced, w.close())
	}
	if noEvents != nil {
		noEvents = errors.Join(fmt.Errorf("file watch: %w", noEvents), w.close())
	}
	return w, noEvents, nil
}

// events are nil, so that they never come, when the system gives none.
func (w *watch) events() (chan fsnotify.Event, chan error) {
	if w == nil || w.fs == nil {
		return nil, nil
	}
	return w.fs.Events, w.fs.Errors
}

// current tells whether the path still names the directory that is watched.
func (w *watch) current() bool {
	now, err := os.Stat(w.path)
	return err == nil && os.SameFile(now, w.info)
}

func (w *watch) close() error {
	if w.fs == nil {
		return nil
	}
	err := w.fs.Close()
	w.fs = nil
	return err
}
