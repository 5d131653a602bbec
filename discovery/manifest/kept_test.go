package manifest_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// restarted is a source on a folder with user and order, started for the
// second time after the folder was changed.
func restarted(t *testing.T, change func(dir string)) *running {
	t.Helper()
	dir, keep := t.TempDir(), filepath.Join(t.TempDir(), "state", "manifests")
	write(t, dir, "user.yaml", docs(serviceYAML("user"), sliceYAML("user", 1)))
	write(t, dir, "order.yaml", serviceYAML("order"))
	first := startKeeping(t, dir, keep)
	first.until("order.production=0", "user.production=1")
	write(t, dir, "user.yaml", docs(serviceYAML("user"), sliceYAML("user", 2)))
	first.until("order.production=0", "user.production=2")
	first.stop()
	change(dir)
	return startKeeping(t, dir, keep)
}

func TestBrokenFileKeepsItsLastGoodStateOverAStart(t *testing.T) {
	for name, text := range map[string]string{
		"unknown field": docs(serviceYAML("user", "  prots: []\n"), sliceYAML("user", 3)),
		"emptied":       "",
	} {
		t.Run(name, func(t *testing.T) {
			r := restarted(t, func(dir string) { write(t, dir, "user.yaml", text) })
			r.until("order.production=0", "user.production=2")
			updates, _ := r.snapshot()
			require.True(t, updates[0].Whole)
			require.Len(t, updates[0].Services, 2, "nobody ever misses it")
			r.untilLogged("objects_kept=2")

			require.NoError(t, os.Remove(filepath.Join(r.dir, "user.yaml")))
			r.until("order.production=0")
			write(t, r.dir, "user.yaml", "{")
			r.untilLogged("objects_kept=0")
			_, services := r.snapshot()
			require.Equal(t, []string{"order.production=0"}, services, "its copy went with it")
		})
	}
}

func TestFileThatIsGoneAtAStartIsGone(t *testing.T) {
	r := restarted(t, func(dir string) { require.NoError(t, os.Remove(filepath.Join(dir, "user.yaml"))) })
	r.until("order.production=0")
	write(t, r.dir, "user.yaml", "{")
	r.untilLogged("objects_kept=0")
	_, services := r.snapshot()
	require.Equal(t, []string{"order.production=0"}, services, "its copy went with it")
}

// TestEmptyFolderAtAStart: a volume that is mounted late or a checkout that is
// not done yet is no cluster without services.
func TestEmptyFolderAtAStart(t *testing.T) {
	r := restarted(t, func(dir string) {
		require.NoError(t, os.Remove(filepath.Join(dir, "user.yaml")))
		require.NoError(t, os.Remove(filepath.Join(dir, "order.yaml")))
	})
	r.untilLogged("manifest directory is empty, and was not: waiting for a manifest")
	require.Zero(t, r.count())
	write(t, r.dir, "order.yaml", serviceYAML("order"))
	r.until("order.production=0")
	require.Equal(t, 1, r.count())
	require.True(t, r.last().Whole)
}

func TestCopiesThatCannotBeWritten(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "file", "")
	write(t, dir, "user.yaml", docs(serviceYAML("user"), sliceYAML("user", 1)))
	r := startKeeping(t, dir, filepath.Join(dir, "file"))
	r.until("user.production=1")
	r.untilLogged("manifests are not kept for the next start")
}
