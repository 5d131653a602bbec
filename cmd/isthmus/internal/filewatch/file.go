// Package filewatch reads a file again when it has changed. It knows nothing of
// what the file says.
//
// It watches the file's folder, because a file that is replaced is another one,
// and because a mounted ConfigMap changes by a link beside the file (..data).
// What causes no event, as on network file systems or behind links that lead
// elsewhere, is found by reading the file every second: configurations are
// short.
package filewatch

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"time"
)

const (
	// lookEvery is how late a change is noticed that causes no event.
	lookEvery = time.Second
	// settle is how long a file must stay the same before it is believed: who
	// saves by truncating and writing takes far less.
	settle = 100 * time.Millisecond
)

// dataLink is what the kubelet swings to a new version of a mounted ConfigMap.
const dataLink = "..data"

// File is a file to follow. Path and Read are required.
type File struct {
	Path string
	// Read reads it as Content gets it.
	Read func() ([]byte, error)
	// Ask may ask for Content at once, though nothing may have changed. Nil:
	// nobody does.
	Ask <-chan os.Signal
	Log *slog.Logger
}

// Content is what a file says now; asked tells that somebody wants to know
// although it may be what it was. An error is one of Read, as soon as it lasts:
// a file that is being replaced may be missing for a moment.
type Content func(text []byte, err error, asked bool)

// Run calls content at the start and whenever the file has changed, until ctx
// ends; then it returns nil. Content is called by this goroutine only.
func (f *File) Run(ctx context.Context, content Content) error {
	w := f.open()
	defer w.close()
	r := &reading{File: f, content: content}
	r.look()
	timer := time.NewTimer(lookEvery)
	defer timer.Stop()
	for {
		timer.Reset(r.wait())
		events, faults := w.events()
		select {
		case <-ctx.Done():
			return nil
		case <-f.Ask:
			r.tell(r.read(), true) // whoever asks has written what he means
		case event, ok := <-events:
			if !ok {
				w.close()
				continue
			}
			if name := filepath.Base(event.Name); name == filepath.Base(f.Path) || name == dataLink {
				r.look()
			}
		case err, ok := <-faults: // events are lost; which, nobody knows
			if !ok {
				w.close()
				continue
			}
			f.Log.Warn("file watch lost events", "file", f.Path, "error", err)
			r.look()
		case <-timer.C:
			w.renew()
			r.look()
		}
	}
}

// reading is what was read so far.
type reading struct {
	*File
	content Content

	told      *state // what content got last; nil: nothing
	candidate *state // what it gets when it is still the same at due; nil: none
	due       time.Time
	looked    time.Time // when it was looked at last
}

// state is what one reading gave.
type state struct {
	text []byte
	err  error
}

func (s *state) equal(o *state) bool {
	if s == nil || o == nil || (s.err == nil) != (o.err == nil) {
		return false
	}
	if s.err != nil {
		return s.err.Error() == o.err.Error()
	}
	return bytes.Equal(s.text, o.text)
}

func (r *reading) read() *state {
	text, err := r.Read()
	return &state{text, err}
}

// look reads the file and tells what it says, once that has lasted.
func (r *reading) look() {
	now := r.read()
	r.looked = time.Now()
	switch {
	case now.equal(r.told):
		r.candidate = nil
	case !now.equal(r.candidate):
		r.candidate, r.due = now, time.Now().Add(settle)
	case !time.Now().Before(r.due):
		r.tell(now, false)
	}
}

func (r *reading) tell(now *state, asked bool) {
	r.told, r.candidate = now, nil
	r.content(now.text, now.err, asked)
}

// wait is the time until the next look, without events. It runs on while there
// are events of other files.
func (r *reading) wait() time.Duration {
	at := r.looked.Add(lookEvery)
	if r.candidate != nil {
		at = r.due
	}
	return max(time.Until(at), 0)
}
