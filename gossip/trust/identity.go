package trust

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
)

// Identity is this process's certificate and key, and the roots it trusts. It
// is safe for concurrent use; Run exchanges what is inside when files change.
type Identity struct {
	id        ID
	files     Files
	stamp     string // of the files before they were loaded
	plaintext bool
	current   atomic.Pointer[material]

	mu      sync.Mutex
	changed chan struct{} // closed at the next change
}

// material is one consistent state of the three files.
type material struct {
	svid    *x509svid.SVID
	bundle  *x509bundle.Bundle // nil when plaintext
	signers *signers           // verified under this bundle
}

// Load reads an identity from PEM files. The certificate must name the given
// clusterset as its trust domain (any, if that is empty) and chain to the CA
// file; errors name the file and what to do.
func Load(files Files, clusterset string) (*Identity, error) {
	i := &Identity{files: files, stamp: files.stamp(), changed: make(chan struct{})}
	m, err := files.load(clusterset)
	if err != nil {
		return nil, err
	}
	if i.id, err = parseID(m.svid.ID); err != nil {
		return nil, fmt.Errorf("%s: %w", files.Cert, err)
	}
	i.current.Store(m)
	return i, nil
}

// Insecure makes an identity for connections in plain text. Heads are signed
// with a key that nobody vouches for, and every signature that is consistent
// in itself is accepted: whoever reaches the port can publish for any cluster.
func Insecure(id ID) (*Identity, error) {
	authority, err := NewAuthority(id.Clusterset)
	if err != nil {
		return nil, err
	}
	cert, key, err := authority.Issue(id, 100*365*24*time.Hour)
	if err != nil {
		return nil, err
	}
	svid, err := x509svid.Parse(cert, key)
	if err != nil {
		return nil, err
	}
	i := &Identity{id: id, plaintext: true, changed: make(chan struct{})}
	i.current.Store(&material{svid: svid, signers: newSigners(nil)})
	return i, nil
}

// ID is who this process is. It does not change: a certificate that names
// somebody else is refused on reload.
func (i *Identity) ID() ID { return i.id }

// Plaintext tells whether connections carry no TLS (insecure: true).
func (i *Identity) Plaintext() bool { return i.plaintext }

// Roots is a value that is the same, by ==, for as long as the trusted roots are.
func (i *Identity) Roots() any { return i.current.Load().signers }

// NotAfter is when the current certificate expires.
func (i *Identity) NotAfter() time.Time {
	return i.current.Load().svid.Certificates[0].NotAfter
}

// Changed gives a channel that is closed when the next change of the files has
// been taken. Ask for it before looking at what may change.
func (i *Identity) Changed() <-chan struct{} {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.changed
}

// exchange brings a new state in force and tells those who wait for it.
func (i *Identity) exchange(m *material) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.current.Store(m)
	close(i.changed)
	i.changed = make(chan struct{})
}

var errPlaintext = errors.New("plaintext identity has no TLS configuration")
