package replica

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"google.golang.org/protobuf/encoding/protodelim"
	"google.golang.org/protobuf/proto"

	"github.com/isthmus-dns/isthmus/gossip/replica/wire"
)

// An agent's copy on disk is a magic line, length-delimited protobufs
// (SnapshotHeader, then SnapshotParts), and the SHA-256 of all that. The sum
// finds damage; the signatures in it find forgery.
const (
	snapshotFile  = "table.isthmus"
	snapshotMagic = "isthmus table v1\n"
	// snapshotEvery bounds the writing when the table changes all the time.
	// What an agent restarts with is then at most so much behind, and marked
	// stale.
	snapshotEvery = 10 * time.Second
	// snapshotPoll is how soon after a quiet time a change is written.
	snapshotPoll = time.Second
	// maxSnapshot bounds what is read: a table of 1,000 clusters with 1,000
	// services takes 300 MiB.
	maxSnapshot = 1 << 30
	maxFrame    = 2 << 20
)

// Restore fills the table from the copy on disk, if there is a good one. Call
// it before Run. An error means that there is a file that is no use, or not
// alone: the table is then not loaded before a watcher has brought the rest,
// as the names of what is missing would be denied.
func (s *Subscriber) Restore() error {
	if s.config.SnapshotDir == "" {
		return nil
	}
	path := filepath.Join(s.config.SnapshotDir, snapshotFile)
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	defer f.Close()
	header, parts, err := readSnapshot(f, s.config.Limits)
	if err != nil {
		return fmt.Errorf("snapshot %s: %w; it is written anew once a watcher is reached", path, err)
	}
	if want := s.config.Identity.ID().Clusterset; header.Clusterset != want {
		return fmt.Errorf("snapshot %s: is of clusterset %q, not %q", path, clip(header.Clusterset), want)
	}
	v, err := decodeView(header.Viewer)
	if err != nil {
		return fmt.Errorf("snapshot %s: %w", path, err)
	}
	if err := s.setRules(header.Viewer); err != nil {
		return fmt.Errorf("snapshot %s: %w", path, err)
	}
	if err := s.restoreParts(parts); err != nil {
		return fmt.Errorf("snapshot %s: %w; a watcher is to bring what is missing", path, err)
	}
	s.view.Store(v)
	if info, err := f.Stat(); err == nil {
		s.tally.hear(info.ModTime())
	}
	s.config.Table.SetLoaded()
	s.log.Info("table restored from disk", "file", path, "clusters", len(s.config.Table.Clusters()))
	return nil
}

// restoreParts takes the parts that are still vouched for. The error is about
// the others.
func (s *Subscriber) restoreParts(parts []*pulled) error {
	var first error
	refused := 0
	for _, p := range parts {
		w := &wire.Head{}
		err := unmarshalHead(p.head, w)
		if err == nil {
			_, _, err = s.store.adopt(w.Cluster, p, emptyPart)
		}
		if err != nil {
			refused++
			first = cmp.Or(first, err)
		}
	}
	if refused > 0 {
		return fmt.Errorf("%d of %d clusters are refused: %w", refused, len(parts), first)
	}
	return nil
}

func readSnapshot(f *os.File, limits Limits) (*wire.SnapshotHeader, []*pulled, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	body := info.Size() - sha256.Size
	if body < int64(len(snapshotMagic)) || info.Size() > maxSnapshot {
		return nil, nil, fmt.Errorf("%d octets is no size for it", info.Size())
	}
	sum := sha256.New()
	r := bufio.NewReaderSize(io.TeeReader(io.LimitReader(f, body), sum), 64<<10)
	magic := make([]byte, len(snapshotMagic))
	if _, err := io.ReadFull(r, magic); err != nil || string(magic) != snapshotMagic {
		return nil, nil, errors.New("it is not a table of this version")
	}
	header, parts, err := readFrames(r, limits)
	if err != nil {
		return nil, nil, err
	}
	want := make([]byte, sha256.Size)
	if _, err := io.ReadFull(f, want); err != nil || !bytes.Equal(want, sum.Sum(nil)) {
		return nil, nil, errors.New("its checksum is wrong")
	}
	return header, parts, nil
}

func readFrames(r *bufio.Reader, limits Limits) (*wire.SnapshotHeader, []*pulled, error) {
	frames := protodelim.UnmarshalOptions{MaxSize: maxFrame}
	header := &wire.SnapshotHeader{}
	if err := frames.UnmarshalFrom(r, header); err != nil {
		return nil, nil, fmt.Errorf("header: %w", err)
	}
	var parts []*pulled
	for {
		p := &wire.SnapshotPart{}
		if err := frames.UnmarshalFrom(r, p); errors.Is(err, io.EOF) {
			return header, parts, nil
		} else if err != nil {
			return nil, nil, fmt.Errorf("part: %w", err)
		}
		if p.Head != nil {
			if len(parts) == limits.Clusters {
				return nil, nil, errTooMany
			}
			parts = append(parts, &pulled{head: p.Head, buckets: allBuckets()})
		}
		if len(parts) == 0 {
			return nil, nil, errMalformed
		}
		last := parts[len(parts)-1]
		for _, it := range p.Items {
			if len(last.items) == limits.Items || len(it.GetKey()) > maxKey || len(it.GetValue()) > limits.RecordBytes {
				return nil, nil, errTooLarge
			}
			last.items = append(last.items, newItem(it.GetKey(), it.GetValue()))
		}
	}
}

func allBuckets() []byte {
	out := make([]byte, bucketCount)
	for n := range out {
		out[n] = byte(n)
	}
	return out
}

// keepSnapshot writes the table when it has changed, not too often, and once
// more at the end.
func (s *Subscriber) keepSnapshot(ctx context.Context) error {
	var last time.Time
	tick := time.NewTicker(snapshotPoll)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			s.saveIfDirty()
			return nil
		case <-tick.C:
			if time.Since(last) >= snapshotEvery && s.dirty.Load() {
				s.saveIfDirty()
				last = time.Now()
			}
		}
	}
}

// saveIfDirty writes the table if there is something new to write. A disk that
// is full or gone costs the copy, not the service.
func (s *Subscriber) saveIfDirty() {
	view := s.view.Load()
	if view == nil || !s.config.Table.Loaded() || !s.dirty.Swap(false) {
		return
	}
	if err := s.save(view); err != nil {
		s.dirty.Store(!errors.Is(err, errNoRoom)) // which the same table has again
		s.log.Error("snapshot not written", "error", err)
	}
}

// saving lets one snapshot of a process be written at a time: two subscribers
// may have one folder while a Corefile is being reloaded.
var saving sync.Mutex

// save writes beside the old file, syncs and renames: at each moment one whole
// file is there.
func (s *Subscriber) save(view *View) (err error) {
	saving.Lock()
	defer saving.Unlock()
	if size := s.snapshotSize(); size > s.room {
		return fmt.Errorf("%d octets, at most %d are allowed: %w", size, s.room, errNoRoom)
	}
	if err := os.MkdirAll(s.config.SnapshotDir, 0o755); err != nil {
		return err
	}
	// One name, so that what a crash leaves is overwritten and not piled up.
	temporary := filepath.Join(s.config.SnapshotDir, snapshotFile+".tmp")
	f, err := os.OpenFile(temporary, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	defer func() {
		f.Close()
		if err != nil {
			_ = os.Remove(temporary)
		}
	}()
	if err := s.writeSnapshot(f, view); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := os.Rename(temporary, filepath.Join(s.config.SnapshotDir, snapshotFile)); err != nil {
		return err
	}
	dir, err := os.Open(s.config.SnapshotDir)
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

// errNoRoom means that a copy would be larger than what Restore reads. What was
// written last stays.
var errNoRoom = errors.New("table is too large for a copy on disk")

// snapshotSize is what a copy takes at most.
func (s *Subscriber) snapshotSize() int64 {
	const header, perItem, perChunk = 64 << 10, 16, 16 // with lengths and tags
	size := int64(header)
	for _, h := range s.store.heads.all() {
		if _, part := s.store.get(h.Cluster); part != nil {
			size += int64(proto.Size(h.signed) + part.bytes + perItem*part.items + perChunk*(1+part.bytes/pullChunk))
		}
	}
	return size
}

func (s *Subscriber) writeSnapshot(f io.Writer, view *View) error {
	sum := sha256.New()
	w := bufio.NewWriterSize(io.MultiWriter(f, sum), 64<<10)
	if _, err := w.WriteString(snapshotMagic); err != nil {
		return err
	}
	if _, err := protodelim.MarshalTo(w, &wire.SnapshotHeader{Clusterset: s.store.clusterset, Viewer: withRules(view, s.store, time.Duration(s.forget.Load()))}); err != nil {
		return err
	}
	for _, h := range s.store.heads.all() {
		full, part := s.store.get(h.Cluster)
		if full == nil {
			continue // forgotten meanwhile
		}
		if err := writePart(w, full, part); err != nil {
			return err
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := f.Write(sum.Sum(nil))
	return err
}

// writePart writes a part as frames of about pullChunk octets.
func writePart(w io.Writer, h *head, p *part) error {
	frame, size := &wire.SnapshotPart{Head: h.signed}, 0
	for _, b := range p.buckets {
		for key, value := range b.each() {
			it := &wire.Item{Key: key, Value: value}
			frame.Items = append(frame.Items, it)
			if size += itemSize(it); size >= pullChunk {
				if _, err := protodelim.MarshalTo(w, frame); err != nil {
					return err
				}
				frame, size = &wire.SnapshotPart{}, 0
			}
		}
	}
	_, err := protodelim.MarshalTo(w, frame)
	return err
}
