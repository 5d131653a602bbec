package manifest_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// configMap writes files as kubelet's AtomicWriter does: a dated folder, a
// link ..data to it that is swapped by rename, and links through ..data.
func configMap(t *testing.T, dir, version string, files map[string]string) {
	t.Helper()
	folder := filepath.Join(dir, ".."+version)
	require.NoError(t, os.Mkdir(folder, 0o700))
	for name, text := range files {
		write(t, folder, name, text)
	}
	old, _ := os.Readlink(filepath.Join(dir, "..data"))
	require.NoError(t, os.Symlink(".."+version, filepath.Join(dir, "..data_tmp")))
	require.NoError(t, os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")))
	for name := range files {
		link := filepath.Join(dir, name)
		if _, err := os.Lstat(link); err != nil {
			require.NoError(t, os.Symlink(filepath.Join("..data", name), link))
		}
	}
	if old != "" {
		require.NoError(t, os.RemoveAll(filepath.Join(dir, old)))
	}
}

func TestConfigMapSwap(t *testing.T) {
	dir := t.TempDir()
	same := docs(serviceYAML("order"), sliceYAML("order", 1))
	configMap(t, dir, "1", map[string]string{"user.yaml": docs(serviceYAML("user"), sliceYAML("user", 1)), "order.yaml": same})
	r := start(t, dir)
	r.until("order.production=1", "user.production=1")
	configMap(t, dir, "2", map[string]string{"user.yaml": docs(serviceYAML("user"), sliceYAML("user", 2)), "order.yaml": same})
	r.until("order.production=1", "user.production=2")
	require.Equal(t, 2, r.count())
	require.Len(t, r.last().Services, 1, "the unchanged file says nothing")
}

func TestLostDirectoryKeepsTheLastState(t *testing.T) {
	write2 := func(t *testing.T, dir string, ready int) {
		write(t, dir, "user.yaml", docs(serviceYAML("user"), sliceYAML("user", ready)))
		write(t, dir, "order.yaml", docs(serviceYAML("order"), sliceYAML("order", ready)))
	}
	tests := []struct {
		name   string
		change func(t *testing.T, dir string)
	}{
		{"removed and made anew", func(t *testing.T, dir string) {
			require.NoError(t, os.RemoveAll(dir))
			require.NoError(t, os.Mkdir(dir, 0o700))
		}},
		{"moved away and made anew", func(t *testing.T, dir string) {
			require.NoError(t, os.Rename(dir, dir+".old"))
			require.NoError(t, os.Mkdir(dir, 0o700))
		}},
		{"moved away and back", func(t *testing.T, dir string) {
			require.NoError(t, os.Rename(dir, dir+".old"))
			require.NoError(t, os.Rename(dir+".old", dir))
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "manifests")
			require.NoError(t, os.Mkdir(dir, 0o700))
			write2(t, dir, 1)
			r := start(t, dir)
			r.until("order.production=1", "user.production=1")

			test.change(t, dir)
			r.untilLogged("manifest directory is lost, its last state stays")
			r.untilLogged("manifest directory is back")
			write2(t, dir, 2)
			r.until("order.production=2", "user.production=2")
			updates, _ := r.snapshot()
			for _, u := range updates {
				require.Empty(t, u.Removed, "nothing was ever taken away")
			}

			// From here on it is a directory like any other.
			write(t, dir, "user.yaml", docs(serviceYAML("user"), sliceYAML("user", 5)))
			r.until("order.production=2", "user.production=5")
		})
	}
}

func TestDirectoryBehindALinkIsSwung(t *testing.T) {
	root := t.TempDir()
	for i := range 2 {
		version := filepath.Join(root, fmt.Sprint("v", i+1))
		require.NoError(t, os.Mkdir(version, 0o700))
		write(t, version, "user.yaml", docs(serviceYAML("user"), sliceYAML("user", i+1)))
	}
	dir := filepath.Join(root, "current")
	require.NoError(t, os.Symlink("v1", dir))
	r := start(t, dir)
	r.until("user.production=1")
	require.NoError(t, os.Symlink("v2", dir+".tmp"))
	require.NoError(t, os.Rename(dir+".tmp", dir))
	r.until("user.production=2")
	require.Equal(t, 2, r.count())
}

func TestWaysToWriteAFile(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "user.yaml", docs(serviceYAML("user"), sliceYAML("user", 1)))
	r := start(t, dir)
	r.until("user.production=1")

	t.Run("rename over", func(t *testing.T) {
		write(t, dir, "user.yaml.tmp", docs(serviceYAML("user"), sliceYAML("user", 2)))
		require.NoError(t, os.Rename(filepath.Join(dir, "user.yaml.tmp"), filepath.Join(dir, "user.yaml")))
		r.until("user.production=2")
	})
	t.Run("truncate, pause, write", func(t *testing.T) {
		f, err := os.OpenFile(filepath.Join(dir, "user.yaml"), os.O_WRONLY|os.O_TRUNC, 0)
		require.NoError(t, err)
		defer f.Close()
		// Another file's change shows that time went by meanwhile.
		write(t, dir, "order.yaml", serviceYAML("order"))
		r.until("order.production=0", "user.production=2")
		_, err = f.WriteString(docs(serviceYAML("user"), sliceYAML("user", 3)))
		require.NoError(t, err)
		r.until("order.production=0", "user.production=3")
		updates, _ := r.snapshot()
		for _, u := range updates {
			require.Empty(t, u.Removed)
		}
	})
	t.Run("emptied, as by a full disk", func(t *testing.T) {
		require.NoError(t, os.Truncate(filepath.Join(dir, "user.yaml"), 0))
		r.untilLogged(`problem="user.yaml: is empty: to take its objects away, delete it" objects_kept=2`)
		r.until("order.production=0", "user.production=3")
	})
	t.Run("comments only", func(t *testing.T) {
		write(t, dir, "user.yaml", "# nothing any more\n")
		r.until("order.production=0")
	})
	t.Run("empty from the start", func(t *testing.T) {
		write(t, dir, "none.yaml", "")
		write(t, dir, "user.yaml", docs(serviceYAML("user"), sliceYAML("user", 4)))
		r.until("order.production=0", "user.production=4")
		require.NotContains(t, r.log.String(), "none.yaml")
		require.NoError(t, os.Remove(filepath.Join(dir, "user.yaml")))
		r.until("order.production=0")
	})
	t.Run("moved out", func(t *testing.T) {
		require.NoError(t, os.Rename(filepath.Join(dir, "order.yaml"), filepath.Join(t.TempDir(), "order.yaml")))
		r.until()
	})
}

func TestBurstOfFiles(t *testing.T) {
	dir := t.TempDir()
	r := start(t, dir)
	r.until()
	var want []string
	for i := range 300 {
		name := fmt.Sprintf("svc-%03d", i)
		write(t, dir, name+".yaml", serviceYAML(name))
		want = append(want, name+".production=0")
	}
	r.until(want...)
	for i := range 300 {
		require.NoError(t, os.Remove(filepath.Join(dir, fmt.Sprintf("svc-%03d.yaml", i))))
	}
	r.until()
}

// TestChangeIsEmittedSoon measures from the write to the update. The fastest
// of a few is asserted, as a busy machine delays any of them: it is some 6 ms,
// of which 5 are settleQuiet.
func TestChangeIsEmittedSoon(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "user.yaml", serviceYAML("user"))
	r := start(t, dir)
	r.until("user.production=0")
	fastest := patience
	for i := range 20 {
		before := r.count()
		began := time.Now()
		write(t, dir, "slice.yaml", sliceYAML("user", i+1))
		require.Eventually(t, func() bool { return r.count() > before }, patience, 200*time.Microsecond)
		fastest = min(fastest, time.Since(began))
	}
	require.Less(t, fastest, 15*time.Millisecond)
}

func BenchmarkChange(b *testing.B) {
	dir := b.TempDir()
	write(b, dir, "user.yaml", serviceYAML("user"))
	r := start(b, dir)
	r.until("user.production=0")
	i := 0
	for b.Loop() {
		before := r.count()
		i++
		write(b, dir, "slice.yaml", sliceYAML("user", i%200+1))
		for r.count() == before {
			time.Sleep(50 * time.Microsecond)
		}
	}
}
