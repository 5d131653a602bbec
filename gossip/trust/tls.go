package trust

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"time"

	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
)

// Server makes the TLS configuration of a listener: TLS 1.3, mutual, verified
// against the roots in force at the time of each handshake. allow may refuse
// an authenticated ID; nil allows every ID of the clusterset. Handshake errors
// are *RefusedError. It panics for a plaintext identity, which has no TLS.
func (i *Identity) Server(allow func(ID) error, protos ...string) *tls.Config {
	c := i.config(allow, protos)
	c.ClientAuth = tls.RequestClientCert // VerifyConnection refuses those without, with a clearer error
	c.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return i.certificate(), nil }
	return c
}

// Client makes the TLS configuration of a dialer; serverName is sent as SNI
// and not compared with the certificate: the SPIFFE ID is what counts.
func (i *Identity) Client(allow func(ID) error, serverName string, protos ...string) *tls.Config {
	c := i.config(allow, protos)
	c.ServerName = serverName
	c.InsecureSkipVerify = true // the library's host-name check; VerifyConnection does ours
	c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return i.certificate(), nil }
	return c
}

func (i *Identity) config(allow func(ID) error, protos []string) *tls.Config {
	if i.plaintext {
		panic(errPlaintext)
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		NextProtos: protos,
		// A resumed session would outlive the rotation of a root.
		SessionTicketsDisabled: true,
		VerifyConnection: func(cs tls.ConnectionState) error {
			_, err := i.verifyPeer(cs, allow)
			return err
		},
	}
}

func (i *Identity) certificate() *tls.Certificate {
	svid := i.current.Load().svid
	c := &tls.Certificate{PrivateKey: svid.PrivateKey, Leaf: svid.Certificates[0]}
	for _, cert := range svid.Certificates {
		c.Certificate = append(c.Certificate, cert.Raw)
	}
	return c
}

// verifyPeer authenticates the other side of a handshake.
func (i *Identity) verifyPeer(cs tls.ConnectionState, allow func(ID) error) (ID, error) {
	if len(cs.PeerCertificates) == 0 {
		return ID{}, &RefusedError{Reason: ReasonNoCertificate}
	}
	m := i.current.Load()
	claimed := claimedID(cs.PeerCertificates[0])
	spiffe, _, err := x509svid.Verify(cs.PeerCertificates, m.bundle)
	if at := verifyTime(m.svid.Certificates[0], cs.PeerCertificates[0], time.Now()); err != nil && !at.IsZero() {
		spiffe, _, err = x509svid.Verify(cs.PeerCertificates, m.bundle, x509svid.WithTime(at))
	}
	if err != nil {
		return ID{}, refusal(claimed, cs.PeerCertificates, m.bundle, err)
	}
	id, err := parseID(spiffe)
	if err == nil && allow != nil {
		err = allow(id)
	}
	if err != nil {
		return ID{}, &RefusedError{Reason: ReasonWrongIdentity, Peer: claimed, Issuer: issuerOf(cs.PeerCertificates), Err: err}
	}
	return id, nil
}

// Trusts tells whether a root that we trust now stands behind the peer of a
// connection that was established before. Whether the peer's certificate is
// still in date is not asked: it may have another by now, which it shows on
// its next connection. The error is a *RefusedError.
func (i *Identity) Trusts(cs tls.ConnectionState) error {
	if len(cs.PeerCertificates) == 0 {
		return &RefusedError{Reason: ReasonNoCertificate}
	}
	m := i.current.Load()
	if err := verifyUndated(cs.PeerCertificates, m.bundle); err != nil {
		return refusal(claimedID(cs.PeerCertificates[0]), cs.PeerCertificates, m.bundle, err)
	}
	return nil
}

// PeerID is the identity of the other side of an established connection, which
// the handshake has verified.
func PeerID(cs tls.ConnectionState) (ID, error) {
	if len(cs.PeerCertificates) == 0 {
		return ID{}, &RefusedError{Reason: ReasonNoCertificate}
	}
	spiffe, err := x509svid.IDFromCert(cs.PeerCertificates[0])
	if err != nil {
		return ID{}, fmt.Errorf("peer certificate: %w", err)
	}
	return parseID(spiffe)
}

func claimedID(cert *x509.Certificate) string {
	id, err := x509svid.IDFromCert(cert)
	if err != nil {
		return ""
	}
	return id.String()
}
