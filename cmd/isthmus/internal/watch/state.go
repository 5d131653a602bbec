package watch

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
)

// state is the folder in which a watcher without an API server keeps its
// cluster's uid and epoch. On Kubernetes both lie in the API server.
type state struct {
	dir string
}

// Files of the folder. Both hold one line of text, so that a person can mend
// them.
const (
	uidFile   = "uid"
	epochFile = "epoch"
)

// epochMu keeps two publishers of one process from taking one epoch; processes
// that share a folder are a mistake that the replicas' roots show.
var epochMu sync.Mutex

// uid reads the cluster's uid, or makes one the first time.
func (s state) uid() (string, error) {
	got, err := s.read(uidFile)
	if err != nil {
		return "", err
	}
	if got == "" {
		got = rand.Text()
		if err := s.write(uidFile, got); err != nil {
			return "", err
		}
	}
	return got, nil
}

// NextEpoch implements replica.Epochs.
func (s state) NextEpoch(_ context.Context, atLeast uint64) (uint64, error) {
	epochMu.Lock()
	defer epochMu.Unlock()
	text, err := s.read(epochFile)
	if err != nil {
		return 0, err
	}
	var stored uint64
	if text != "" {
		if stored, err = strconv.ParseUint(text, 10, 64); err != nil {
			return 0, fmt.Errorf("%s: is no number; remove it: the epoch then follows what other clusters hold", filepath.Join(s.dir, epochFile))
		}
	}
	last := max(stored, atLeast)
	if last == math.MaxUint64 { // one more is none
		return 0, fmt.Errorf("%s: no number is left above %d; remove it: the epoch then follows what other clusters hold", filepath.Join(s.dir, epochFile), last)
	}
	next := last + 1
	return next, s.write(epochFile, strconv.FormatUint(next, 10))
}

// maxStateFile bounds what is read; a uid takes 26 octets.
const maxStateFile = 256

func (s state) read(name string) (string, error) {
	data, err := os.ReadFile(filepath.Join(s.dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("%w; name a folder that the watcher may write to", err)
	}
	text := strings.TrimSpace(string(data))
	if len(text) > maxStateFile {
		return "", fmt.Errorf("%s: is longer than %d octets; remove it", filepath.Join(s.dir, name), maxStateFile)
	}
	return text, nil
}

// write replaces a file as a whole, and on disk before it returns: an epoch
// that was used must not come again.
func (s state) write(name, text string) error {
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return fmt.Errorf("%w; create it or name another folder", err)
	}
	path := filepath.Join(s.dir, name)
	f, err := os.OpenFile(path+".tmp", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.WriteString(text + "\n"); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		return err
	}
	dir, err := os.Open(s.dir)
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync() // the new name is on disk only now
}
