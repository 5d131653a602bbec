package trust

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
)

// Files are the PEM files of an identity. CA may hold several roots, so that
// one can be rotated in before the other leaves.
type Files struct {
	Cert, Key, CA string
}

// maxFile bounds a PEM file: some hundred roots are still below it.
const maxFile = 1 << 20

// load reads the three files and checks them against each other.
func (f Files) load(clusterset string) (*material, error) {
	cert, err := readFile(f.Cert, "certificate")
	if err != nil {
		return nil, err
	}
	key, err := readFile(f.Key, "key")
	if err != nil {
		return nil, err
	}
	ca, err := readFile(f.CA, "CA")
	if err != nil {
		return nil, err
	}
	svid, err := x509svid.Parse(cert, key)
	if err != nil {
		return nil, fmt.Errorf("%s with key %s: %s; issue both anew with `isthmus pki issue`", f.Cert, f.Key, plain(err))
	}
	td := svid.ID.TrustDomain()
	if clusterset != "" && td.Name() != clusterset {
		return nil, fmt.Errorf("%s: names clusterset %q, but the configuration says %q; use a certificate issued for it",
			f.Cert, td, clusterset)
	}
	bundle, err := x509bundle.Parse(td, ca)
	if err != nil {
		return nil, fmt.Errorf("%s: %s; want one or more PEM certificates", f.CA, plain(err))
	}
	if bundle.Empty() {
		return nil, fmt.Errorf("%s: holds no certificate; want the clusterset's root in PEM", f.CA)
	}
	if err := verifyOwn(svid, bundle); err != nil {
		return nil, fmt.Errorf("%s: %w; issue it anew from that root or add its root to %s", f.Cert, err, f.CA)
	}
	return &material{svid: svid, bundle: bundle, signers: newSigners(bundle)}, nil
}

// verifyOwn wants our own certificate to chain to our own roots. Whether it is
// in date is left to peers: a clock that is off must not keep DNS from
// starting.
func verifyOwn(svid *x509svid.SVID, bundle *x509bundle.Bundle) error {
	if err := verifyUndated(svid.Certificates, bundle); err != nil {
		return &RefusedError{
			Reason: ReasonWrongRoot, Peer: svid.ID.String(),
			Issuer: issuerOf(svid.Certificates), Trusted: rootsOf(bundle), Err: err,
		}
	}
	return nil
}

func readFile(path, what string) ([]byte, error) {
	if path == "" {
		return nil, fmt.Errorf("tls: no %s file is given; name one, or set insecure: true for a test", what)
	}
	f, err := os.Open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s: %s file does not exist; make one with `isthmus pki`", path, what)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("%s: %s file is not readable by user %d; change its owner or mode", path, what, os.Getuid())
	case err != nil:
		return nil, fmt.Errorf("%s file: %w", what, err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("%s file %s: %w", what, path, err)
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("%s: %s file is larger than %d octets", path, what, maxFile)
	}
	return data, nil
}

// stamp tells whether files may have changed since: size and time of each,
// following links, as Secret mounts swap a directory link.
func (f Files) stamp() string {
	var b strings.Builder
	for _, path := range []string{f.Cert, f.Key, f.CA} {
		if info, err := os.Stat(path); err == nil {
			fmt.Fprintf(&b, "%d %s;", info.Size(), info.ModTime().Format(time.RFC3339Nano))
		} else {
			b.WriteString("-;")
		}
	}
	return b.String()
}

// plain takes a library's prefix off its error.
func plain(err error) string {
	s := err.Error()
	for _, prefix := range []string{"x509svid: ", "x509bundle: "} {
		s = strings.TrimPrefix(s, prefix)
	}
	return s
}
