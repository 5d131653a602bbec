package gossip

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

const (
	// memoryFile is the file's name in the state folder.
	memoryFile = "peers"

	// memoryInterval bounds how often it is written: members come and go in
	// minutes, and a fsync for each would wear a disk.
	memoryInterval = 30 * time.Second

	// memoryRefresh is how soon it is written though nothing changed, because
	// what it says of how long members are lost grows old.
	memoryRefresh = time.Hour

	// maxMemory bounds the file in octets: MaxMembers lines of 190 fit.
	maxMemory = 1 << 20
)

// Memory is what a pool remembers of its members in a folder, so that a watcher
// that is started again finds the others though its seeds name none of them, or
// none that lives. The file holds names and addresses, nothing secret, and no
// time of day: how long a member was lost counts on from when it was written.
//
// Nothing that is wrong with it is fatal. A nil *Memory remembers nothing.
type Memory struct {
	dir    string
	log    *slog.Logger
	peers  []rememberedPeer
	failed string // the last error, to log changes only
}

// OpenMemory reads what an earlier process has left in a folder. A file that is
// damaged is logged and set aside; a folder that does not exist holds nothing.
func OpenMemory(dir string, log *slog.Logger) *Memory {
	m := &Memory{dir: dir, log: log}
	path := filepath.Join(dir, memoryFile)
	b, err := readMemory(path)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR): // if it stays so, the first write says it
		return m
	case err == nil:
		m.peers, err = decodePeers(b)
	}
	if errors.Is(err, errMemory) {
		aside := path + ".damaged"
		log.Warn("remembered peers not read, file set aside", "file", path, "aside", aside, "error", err)
		if err := os.Rename(path, aside); err != nil {
			log.Info("file not set aside", "error", err) // it will be overwritten
		}
	} else if err != nil {
		log.Warn("remembered peers not read", "error", err)
	}
	return m
}

// Len is how many peers were read.
func (m *Memory) Len() int {
	if m == nil {
		return 0
	}
	return len(m.peers)
}

func readMemory(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxMemory+1))
}

// keep writes the pool's members down as they change, and when ctx ends.
func (m *Memory) keep(ctx context.Context, r *roster) {
	if m == nil {
		return
	}
	tick := time.NewTicker(memoryInterval)
	defer tick.Stop()
	saved, at := uint64(0), time.Now()
	for ended := false; !ended; {
		select {
		case <-ctx.Done():
			ended = true
		case <-tick.C:
		}
		peers, changes := r.known()
		aged := len(peers) > 0 && (ended || time.Since(at) >= memoryRefresh)
		if (changes != saved || aged) && m.save(peers) {
			saved, at = changes, time.Now()
		}
	}
}

// save writes the file and tells whether it is on disk. It logs a failure when
// it begins or changes: the folder may be read-only, and that is no fault.
func (m *Memory) save(peers []rememberedPeer) bool {
	err := m.write(encodePeers(peers))
	switch {
	case err == nil:
		m.failed = ""
		return true
	case err.Error() != m.failed:
		m.failed = err.Error()
		m.log.Warn("peers not remembered on disk: after a restart only seeds lead back to the pool", "error", err)
	}
	return false
}

// write replaces the file as a whole, and on disk before the old one goes.
func (m *Memory) write(b []byte) error {
	if err := os.MkdirAll(m.dir, 0o755); err != nil {
		return err
	}
	path := filepath.Join(m.dir, memoryFile)
	f, err := os.OpenFile(path+".tmp", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		return err
	}
	dir, err := os.Open(m.dir)
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync() // the new name is on disk only now
}
