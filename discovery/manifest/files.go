package manifest

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
)

// files reads manifests into an inventory and remembers, for each, what was
// read, so that only changed files are read and only changed text is parsed.
type files struct {
	dir     string
	kept    kept
	inv     *inventory
	log     *slog.Logger
	metrics *metrics
	byName  map[string]*file
	broken  int
	swept   bool // kept has no file that is not in the directory
}

// file is what is known of one manifest.
type file struct {
	info     os.FileInfo // when it was read last; nil: try again at every rescan
	sum      [sha256.Size]byte
	read     bool   // sum is that of a text that was parsed
	broken   bool   // the last good objects, if any, stay in the inventory
	fault    string // the last that was logged, so that a retry is silent
	recalled bool   // what it said last, be it to an earlier process, is in the inventory
}

func newFiles(dir, keep string, log *slog.Logger, m *metrics) *files {
	return &files{
		dir: dir, kept: kept{dir: keep, log: log}, inv: newInventory(),
		log: log, metrics: m, byName: map[string]*file{},
	}
}

// load reads one file if it is there, and drops its objects if it is not. It
// returns the file's problems.
func (f *files) load(name string) []Problem {
	data, info, err := readManifest(f.dir, name)
	known := f.byName[name]
	if errors.Is(err, fs.ErrNotExist) && !f.dangling(name) {
		f.drop(name)
		return nil
	}
	if known == nil {
		known = &file{}
		f.byName[name] = known
	}
	known.info = info
	if err != nil {
		known.read = false
		known.info = nil
		return f.failed(name, known, []*lineError{faultf(0, "%v", err)})
	}
	sum := sha256.Sum256(data)
	if known.read && known.sum == sum {
		return nil
	}
	known.sum, known.read = sum, true
	if len(data) == 0 && f.had(name, known) > 0 {
		return f.failed(name, known, []*lineError{errEmptied})
	}
	parsed := parse(name, data)
	for _, kind := range parsed.ignored {
		f.log.Debug("kind in manifest is of no use", "file", name, "kind", kind)
	}
	if len(parsed.faults) > 0 {
		return f.failed(name, known, parsed.faults)
	}
	known.recalled = true
	f.good(name, known)
	f.kept.put(name, data)
	problems := f.inv.put(name, parsed.objects)
	for _, p := range problems {
		f.log.Warn("object stands in manifests twice", "problem", p.String())
	}
	return problems
}

// errEmptied: a file of no octets is what a full disk or a failed redirection
// leaves behind. Who means it deletes the file, or leaves a comment in it.
var errEmptied = faultf(0, "is empty: to take its objects away, delete it")

// dangling tells a link to nothing from a file that is gone: the former is
// broken, as in the middle of a change, and keeps its last good state.
func (f *files) dangling(name string) bool {
	_, err := os.Lstat(filepath.Join(f.dir, name))
	return err == nil
}

// had is how many objects of a file were in force until now. Of one that was
// never good in this process that is what an earlier one kept.
func (f *files) had(name string, known *file) int {
	if !known.recalled {
		known.recalled = true
		f.inv.put(name, f.kept.objects(name))
	}
	return len(f.inv.byFile[name])
}

func (f *files) failed(name string, known *file, faults []*lineError) []Problem {
	problems := problemsOf(name, faults)
	objects := f.had(name, known)
	if !known.broken {
		known.broken = true
		f.broken++
	}
	f.count()
	var text strings.Builder
	for _, p := range problems {
		fmt.Fprintln(&text, p)
	}
	if known.fault == text.String() {
		return problems
	}
	known.fault = text.String()
	f.metrics.reload("error")
	for _, p := range problems {
		f.log.Error("manifest is broken", "problem", p.String(), "objects_kept", objects)
	}
	return problems
}

func (f *files) good(name string, known *file) {
	if known.broken {
		known.broken, known.fault = false, ""
		f.broken--
		f.log.Info("manifest is good again", "file", name)
	}
	f.metrics.reload("ok")
	f.count()
}

func (f *files) drop(name string) {
	known := f.byName[name]
	if known == nil {
		return
	}
	if known.broken {
		f.broken--
	}
	delete(f.byName, name)
	f.kept.drop(name)
	f.inv.put(name, nil)
	f.metrics.reload("removed")
	f.count()
}

func (f *files) count() { f.metrics.files(len(f.byName)-f.broken, f.broken) }

// scan brings everything up to date with the directory. An error leaves all
// as it was.
func (f *files) scan() error {
	found, err := listDir(f.dir)
	if err != nil {
		return err
	}
	for name, info := range found {
		if known := f.byName[name]; known == nil || !sameFile(known.info, info) {
			f.load(name)
		}
	}
	for name := range f.byName {
		if _, there := found[name]; !there {
			f.drop(name)
		}
	}
	f.sweep(found)
	f.count()
	return nil
}

// sweep drops what an earlier process kept of files that are gone, once.
func (f *files) sweep(found map[string]os.FileInfo) {
	if f.swept {
		return
	}
	f.swept = true
	for name := range f.kept.names() {
		if _, there := found[name]; !there {
			f.kept.drop(name)
		}
	}
}
