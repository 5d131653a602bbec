package kubetest

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/stretchr/testify/require"
)

// Backup is a copy of a cluster's etcd at some moment.
type Backup struct{ dir string }

// Backup copies etcd's data. etcd stands still meanwhile, so that the copy is
// what a crash at that moment would have left, from which etcd recovers. Who
// is connected notices nothing but a pause.
func (c *Cluster) Backup() Backup {
	c.t.Helper()
	b := Backup{dir: filepath.Join(c.t.TempDir(), "etcd-"+strconv.Itoa(c.store.cmd.Process.Pid))}
	require.NoError(c.t, c.store.cmd.Process.Signal(syscall.SIGSTOP))
	err := os.CopyFS(b.dir, os.DirFS(c.path("etcd")))
	require.NoError(c.t, c.store.cmd.Process.Signal(syscall.SIGCONT))
	require.NoError(c.t, err)
	return b
}

// Restore ends API server and etcd, puts a backup in the place of etcd's data,
// and starts both again at their addresses, in the order of Kubernetes's
// manual (no API server may run meanwhile). All that was written since the
// backup is gone, and revisions are given out a second time: what `etcdutl
// snapshot restore` does unless it is told to raise them.
func (c *Cluster) Restore(b Backup) {
	c.t.Helper()
	require.NoError(c.t, c.restore(b))
}

func (c *Cluster) restore(b Backup) error {
	c.api.kill()
	c.store.kill()
	if err := os.RemoveAll(c.path("etcd")); err != nil {
		return fmt.Errorf("etcd's data: %w", err)
	}
	if err := os.CopyFS(c.path("etcd"), os.DirFS(b.dir)); err != nil {
		return fmt.Errorf("etcd's data: %w", err)
	}
	if err := os.Chmod(c.path("etcd"), 0o700); err != nil { // etcd wants that
		return fmt.Errorf("etcd's data: %w", err)
	}
	if err := c.startEtcd(); err != nil {
		return err
	}
	return c.startAPI()
}
