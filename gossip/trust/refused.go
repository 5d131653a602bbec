package trust

import (
	"crypto/x509"
	"errors"
	"fmt"
	"strings"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
)

// Reason says in one word why a peer was refused; it serves as a metric label.
type Reason string

// The reasons.
const (
	ReasonNoCertificate Reason = "no_certificate"
	ReasonWrongRoot     Reason = "wrong_root"
	ReasonExpired       Reason = "expired"
	ReasonNotSPIFFE     Reason = "not_spiffe"
	ReasonWrongIdentity Reason = "wrong_identity"
)

// RefusedError says which peer was refused and why.
type RefusedError struct {
	Reason  Reason
	Peer    string   // the SPIFFE ID it claims, "" when it claims none
	Issuer  string   // who issued its certificate
	Trusted []string // the roots that we trust
	Err     error
}

func (e *RefusedError) Error() string {
	peer := e.Peer
	if peer == "" {
		peer = "peer"
	}
	switch e.Reason {
	case ReasonNoCertificate:
		return fmt.Sprintf("%s refused: it presented no certificate", peer)
	case ReasonWrongRoot:
		return fmt.Sprintf("%s refused: its certificate was issued by %q, which does not chain to a trusted root (%s)",
			peer, e.Issuer, strings.Join(e.Trusted, ", "))
	case ReasonExpired:
		return fmt.Sprintf("%s refused: certificate issued by %q: %v (the clock is this machine's)", peer, e.Issuer, e.Err)
	}
	return fmt.Sprintf("%s refused: %v", peer, e.Err)
}

func (e *RefusedError) Unwrap() error { return e.Err }

// refusal sorts a verification error of the x509svid package.
func refusal(peer string, certs []*x509.Certificate, bundle *x509bundle.Bundle, err error) *RefusedError {
	r := &RefusedError{Reason: ReasonWrongRoot, Peer: peer, Issuer: issuerOf(certs), Trusted: rootsOf(bundle), Err: err}
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		r.Reason = ReasonExpired
	case peer == "":
		r.Reason = ReasonNotSPIFFE
	}
	return r
}

// issuerOf names the authority that stands behind a chain: its last issuer.
func issuerOf(certs []*x509.Certificate) string {
	if len(certs) == 0 {
		return ""
	}
	return certs[len(certs)-1].Issuer.String()
}

func rootsOf(bundle *x509bundle.Bundle) []string {
	if bundle == nil {
		return nil
	}
	var names []string
	for _, root := range bundle.X509Authorities() {
		names = append(names, fmt.Sprintf("%q", root.Subject.String()))
	}
	return names
}
