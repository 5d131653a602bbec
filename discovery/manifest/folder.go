package manifest

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Bounds on a directory.
const (
	// MaxFileSize of one manifest: Kubernetes' own objects stop at 1.5 MiB
	// (etcd's limit), so this is a file of many.
	MaxFileSize = 8 << 20
	// MaxFiles in one directory.
	MaxFiles = 100_000
)

// dataLink is what kubelet swaps when a ConfigMap or Secret changes: the
// mounted files are links through it.
const dataLink = "..data"

// isManifest tells by its name whether a file is read. Names with a leading
// dot are those of editors' swap and lock files and of ConfigMap mounts.
func isManifest(name string) bool {
	if strings.HasPrefix(name, ".") {
		return false
	}
	switch filepath.Ext(name) {
	case ".yaml", ".yml", ".json":
		return true
	}
	return false
}

// checkDir wants a directory that can be listed.
func checkDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("manifest directory: %w", err)
	}
	defer f.Close()
	if _, err := f.ReadDir(1); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("manifest directory: %w", err)
	}
	return nil
}

// listDir gives the manifests of a directory and what is known of each;
// subdirectories are not followed. A file that can't be looked at stands with
// nil, so that it is not taken for deleted.
func listDir(dir string) (map[string]os.FileInfo, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("manifest directory: %w", err)
	}
	defer f.Close()
	out := map[string]os.FileInfo{}
	for {
		entries, err := f.ReadDir(1024)
		for _, entry := range entries {
			name := entry.Name()
			if !isManifest(name) || entry.IsDir() {
				continue
			}
			info, err := os.Stat(filepath.Join(dir, name))
			switch {
			case errors.Is(err, fs.ErrNotExist) && entry.Type()&fs.ModeSymlink == 0:
				continue // deleted since
			case err != nil:
				info = nil
			case info.IsDir():
				continue
			}
			out[name] = info
		}
		if len(out) > MaxFiles {
			return nil, fmt.Errorf("manifest directory: more than %d files", MaxFiles)
		}
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("manifest directory: %w", err)
		}
	}
}

// readManifest reads one file of the directory. A link may lead to another
// file of the directory (also through ..data), not out of it.
func readManifest(dir, name string) ([]byte, os.FileInfo, error) {
	path := filepath.Join(dir, name)
	if err := staysInside(dir, path); err != nil {
		return nil, nil, err
	}
	// A pipe with a manifest's name must not block the source for ever.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, withoutPath(err)
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, nil, withoutPath(err)
	case !info.Mode().IsRegular():
		return nil, info, errors.New("is not a regular file")
	case info.Size() > MaxFileSize:
		return nil, info, fmt.Errorf("has %d octets, at most %d are read", info.Size(), MaxFileSize)
	}
	data, err := io.ReadAll(io.LimitReader(f, MaxFileSize+1))
	if err != nil {
		return nil, info, withoutPath(err)
	}
	if len(data) > MaxFileSize { // it grew while it was read
		return nil, info, fmt.Errorf("has more than %d octets", MaxFileSize)
	}
	return data, info, nil
}

func staysInside(dir, path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return withoutPath(err)
	}
	if info.Mode()&fs.ModeSymlink == 0 {
		return nil
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return fmt.Errorf("link: %w", withoutPath(err))
	}
	root, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return fmt.Errorf("link: %w", withoutPath(err))
	}
	if rel, err := filepath.Rel(root, real); err != nil || !filepath.IsLocal(rel) {
		return errors.New("is a link that leaves the directory")
	}
	return nil
}

// withoutPath drops the path of an error: the problem names the file anyhow.
func withoutPath(err error) error {
	var pathError *fs.PathError
	if errors.As(err, &pathError) {
		return pathError.Err
	}
	return err
}

// sameFile tells that a file did not change since it was looked at, as far as
// that can be told without reading it.
func sameFile(x, y os.FileInfo) bool {
	return x != nil && y != nil && os.SameFile(x, y) && x.ModTime().Equal(y.ModTime()) && x.Size() == y.Size()
}
