// Package pki keeps a clusterset's certificates in a folder: the root, and a
// pair for the watcher and one for the agents of each cluster. It makes none
// itself, gossip/trust does, and knows nothing of where they are used.
package pki

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/gossip/trust"
)

// DefaultDays is how long an issued certificate is good for: a year, as there
// is nothing here that renews it. What renews by itself (cert-manager, SPIRE)
// should take days.
const DefaultDays = 365

const (
	// keyMode: only the owner reads a key; a mount in a Pod has its own mode.
	keyMode  = 0o600
	certMode = 0o644
	dirMode  = 0o700
)

// Folder is where the files lie.
type Folder string

// ErrExists is in the error of Init when there is a root already.
var ErrExists = errors.New("exists already")

func (f Folder) path(name string) string { return filepath.Join(string(f), name) }

// CA is the root's certificate.
func (f Folder) CA() string { return f.path("ca.crt") }

// CAKey is the root's key. Keep it away from clusters.
func (f Folder) CAKey() string { return f.path("ca.key") }

// Cert and Key are one role's of one cluster.
func (f Folder) Cert(cluster string, role trust.Role) string {
	return f.path(cluster + "-" + string(role) + ".crt")
}

// Key is the key to Cert.
func (f Folder) Key(cluster string, role trust.Role) string {
	return f.path(cluster + "-" + string(role) + ".key")
}

// Init makes the root of a clusterset. An existing one, or half of one, stays
// and gives ErrExists unless force is set: all that it issued would be worth
// nothing.
func (f Folder) Init(clusterset string, force bool) error {
	authority, err := trust.NewAuthority(clusterset)
	if err != nil {
		return err
	}
	key, err := authority.KeyPEM()
	if err != nil {
		return fmt.Errorf("root key: %w", err)
	}
	if err := os.MkdirAll(string(f), dirMode); err != nil {
		return err
	}
	for _, file := range []string{f.CAKey(), f.CA()} {
		if _, err := os.Lstat(file); err == nil && !force {
			return fmt.Errorf("%s %w: use it, or make another with --force, which makes all certificates of the old one worthless", file, ErrExists)
		}
	}
	if err := write(f.CAKey(), key, keyMode); err != nil {
		return err
	}
	return write(f.CA(), authority.CertPEM(), certMode)
}

// Issue makes the watcher's and the agents' certificates of a cluster, in
// place of earlier ones: issuing anew is how they are renewed. It returns the
// names of the files written.
func (f Folder) Issue(cluster string, lifetime time.Duration) ([]string, error) {
	if err := discovery.ValidLabel(cluster); err != nil {
		return nil, fmt.Errorf("cluster %q %w", cluster, err)
	}
	authority, err := f.load()
	if err != nil {
		return nil, err
	}
	var files []string
	for _, role := range []trust.Role{trust.Watcher, trust.Agent} {
		cert, key, err := authority.Issue(trust.ID{Clusterset: authority.Clusterset(), Cluster: cluster, Role: role}, lifetime)
		if err != nil {
			return files, fmt.Errorf("certificate of %s's %s: %w", cluster, role, err)
		}
		// The key first: a new certificate with an old key helps nobody,
		// and a reader that sees the key alone keeps what it has.
		if err := write(f.Key(cluster, role), key, keyMode); err != nil {
			return files, err
		}
		if err := write(f.Cert(cluster, role), cert, certMode); err != nil {
			return files, err
		}
		files = append(files, f.Cert(cluster, role), f.Key(cluster, role))
	}
	return files, nil
}

func (f Folder) load() (*trust.Authority, error) {
	cert, err := os.ReadFile(f.CA())
	if err != nil {
		return nil, noRoot(err)
	}
	key, err := os.ReadFile(f.CAKey())
	if err != nil {
		return nil, noRoot(err)
	}
	authority, err := trust.LoadAuthority(cert, key)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f, err)
	}
	return authority, nil
}

func noRoot(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: make a root with isthmus pki init", err)
	}
	return err
}

// write puts a file in its place whole or not at all, never for a moment with
// a wider mode than it should have.
func write(file string, text []byte, mode fs.FileMode) (err error) {
	t, err := os.CreateTemp(filepath.Dir(file), ".isthmus-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(t.Name())
		}
	}()
	if _, err := t.Write(text); err != nil {
		return errors.Join(err, t.Close())
	}
	if err := errors.Join(t.Chmod(mode), t.Sync(), t.Close()); err != nil {
		return err
	}
	return os.Rename(t.Name(), file)
}
