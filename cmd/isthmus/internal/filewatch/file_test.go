package filewatch

import (
	"context"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// patience is for a loaded machine.
const patience = 20 * time.Second

// told is what somebody got.
type told struct {
	text  string
	err   bool
	asked bool
}

// begin follows a file until the test's end.
func begin(t *testing.T, path string) (got chan told, ask chan os.Signal) {
	t.Helper()
	got, ask = make(chan told, 16), make(chan os.Signal, 1)
	f := &File{Path: path, Read: func() ([]byte, error) { return os.ReadFile(path) }, Ask: ask}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- f.Run(ctx, func(text []byte, err error, asked bool) { got <- told{string(text), err != nil, asked} })
	}()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
	})
	return got, ask
}

func next(t *testing.T, got chan told) told {
	t.Helper()
	select {
	case now := <-got:
		return now
	case <-time.After(patience):
		t.Fatal("nothing was told")
		return told{}
	}
}

// until skips what a file said while it was written, which on a loaded machine
// may last.
func until(t *testing.T, got chan told, want told) {
	t.Helper()
	now := next(t, got)
	for now != want {
		require.Empty(t, now.text)
		now = next(t, got)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
}

func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.yaml")
	write(t, path, "one")
	got, ask := begin(t, path)
	require.Equal(t, told{text: "one"}, next(t, got))

	write(t, path, "two")
	until(t, got, told{text: "two"})

	write(t, path+".new", "three")
	require.NoError(t, os.Rename(path+".new", path))
	require.Equal(t, told{text: "three"}, next(t, got))

	require.NoError(t, os.Remove(path))
	require.Equal(t, told{err: true}, next(t, got))
	write(t, path, "three")
	until(t, got, told{text: "three"})

	ask <- syscall.SIGHUP
	require.Equal(t, told{text: "three", asked: true}, next(t, got))
	require.Empty(t, got, "nothing was told twice")
}

// TestConfigMap: the kubelet writes a new folder and swings a link to it.
func TestConfigMap(t *testing.T) {
	dir := t.TempDir()
	version := func(name, text string) {
		require.NoError(t, os.Mkdir(filepath.Join(dir, name), 0o700))
		write(t, filepath.Join(dir, name, "a.yaml"), text)
		require.NoError(t, os.Symlink(name, filepath.Join(dir, "..data_tmp")))
		require.NoError(t, os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")))
	}
	version("..1", "one")
	path := filepath.Join(dir, "a.yaml")
	require.NoError(t, os.Symlink(filepath.Join("..data", "a.yaml"), path))
	got, _ := begin(t, path)
	require.Equal(t, told{text: "one"}, next(t, got))
	version("..2", "two")
	require.NoError(t, os.RemoveAll(filepath.Join(dir, "..1")))
	require.Equal(t, told{text: "two"}, next(t, got))
}

// TestWithoutEvents: a link that leads elsewhere causes no event here, and a
// folder that was replaced none at all.
func TestWithoutEvents(t *testing.T) {
	dir, elsewhere := filepath.Join(t.TempDir(), "dir"), filepath.Join(t.TempDir(), "b.yaml")
	require.NoError(t, os.Mkdir(dir, 0o700))
	path := filepath.Join(dir, "a.yaml")
	write(t, elsewhere, "one")
	require.NoError(t, os.Symlink(elsewhere, path))
	got, _ := begin(t, path)
	require.Equal(t, told{text: "one"}, next(t, got))
	write(t, elsewhere, "two")
	until(t, got, told{text: "two"})

	require.NoError(t, os.RemoveAll(dir))
	require.Equal(t, told{err: true}, next(t, got))
	require.NoError(t, os.Mkdir(dir, 0o700))
	write(t, path, "three")
	until(t, got, told{text: "three"})
	write(t, path, "four")
	until(t, got, told{text: "four"})
}

// TestBusyFolder: where other files change all the time, one without events is
// looked at nevertheless.
func TestBusyFolder(t *testing.T) {
	dir, elsewhere := t.TempDir(), filepath.Join(t.TempDir(), "b.yaml")
	path := filepath.Join(dir, "a.yaml")
	write(t, elsewhere, "one")
	require.NoError(t, os.Symlink(elsewhere, path))
	got, _ := begin(t, path)
	require.Equal(t, told{text: "one"}, next(t, got))

	write(t, elsewhere, "two")
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		require.True(t, time.Now().Before(deadline), "nothing was told")
		write(t, filepath.Join(dir, "log"), "another line")
		select {
		case now := <-got:
			if now.text == "two" {
				return
			}
		default:
		}
	}
}

// TestHalfWritten: what doesn't last is not told.
func TestHalfWritten(t *testing.T) {
	texts := []string{"one", "one", "", "tw", "two", "two", "two"}
	var content []told
	r := &reading{content: func(text []byte, err error, asked bool) {
		content = append(content, told{string(text), err != nil, asked})
	}}
	r.File = &File{Read: func() ([]byte, error) { return []byte(texts[0]), nil }}
	for len(texts) > 0 {
		r.due = time.Time{} // it is time
		r.look()
		texts = texts[1:]
	}
	require.Equal(t, []told{{text: "one"}, {text: "two"}}, content)
}
