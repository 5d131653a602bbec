package manifest

import (
	"bytes"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
)

// kept are copies of the manifests as they were last good. What a file said
// last stays in force while it is broken; with the copies, also when the
// process starts anew meanwhile. Without a folder nothing is kept.
type kept struct {
	dir string
	log *slog.Logger
	// complained keeps a folder that can't be written from filling the log.
	complained bool
}

// put keeps a file's text. At a start most of it is there already.
func (k *kept) put(name string, data []byte) {
	if k.dir == "" {
		return
	}
	path := filepath.Join(k.dir, name)
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, data) {
		return
	}
	k.tell(k.replace(path, data))
}

// replace writes a file as a whole. It does not wait for the disk: after a
// crash of the machine an older text or a broken one may be there, and the
// latter is not used.
func (k *kept) replace(path string, data []byte) error {
	if err := os.MkdirAll(k.dir, 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(path+".tmp", data, 0o600); err != nil { // no manifest's name
		return err
	}
	return os.Rename(path+".tmp", path)
}

// drop forgets a file.
func (k *kept) drop(name string) {
	if k.dir == "" {
		return
	}
	if err := os.Remove(filepath.Join(k.dir, name)); err != nil && !os.IsNotExist(err) {
		k.tell(err)
	}
}

// objects are those of a file's copy; none if there is no good one.
func (k *kept) objects(name string) []object {
	if k.dir == "" {
		return nil
	}
	data, _, err := readManifest(k.dir, name)
	if err != nil {
		return nil
	}
	if parsed := parse(name, data); len(parsed.faults) == 0 {
		return parsed.objects
	}
	return nil
}

// names are the files of which there are copies.
func (k *kept) names() map[string]fs.FileInfo {
	if k.dir == "" {
		return nil
	}
	names, err := listDir(k.dir)
	if err != nil {
		return nil // not there yet
	}
	return names
}

func (k *kept) tell(err error) {
	if err != nil && !k.complained {
		k.log.Warn("manifests are not kept for the next start", "error", fmt.Errorf("copy of manifest: %w", err))
	}
	k.complained = err != nil
}
