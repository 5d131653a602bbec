package trust

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
)

// Signature is a signature and what is needed to check it. The chain may be
// left out towards peers that have seen it before: KeyID names it.
type Signature struct {
	KeyID []byte   // the first 16 octets of SHA-256 of the leaf's DER
	Sig   []byte   // over SHA-256 of the message; Ed25519: over the message
	Chain [][]byte // DER, leaf first, without the root; may be empty
}

// Bounds on what a peer may send as a signature.
const (
	keyIDLen   = 16
	maxChain   = 4       // leaf and three intermediates
	maxCertLen = 8 << 10 // octets; an RSA-4096 leaf takes 2 KiB
	maxSigLen  = 1 << 10 // octets; RSA-4096 takes 512
	// maxSigners bounds the cache of verified keys: two watchers in each of
	// 1,000 clusters, and as many again while keys rotate.
	maxSigners = 4096
)

// ErrUnknownKey means that a signature came without its chain and the key was
// not seen before: ask for the chain.
var ErrUnknownKey = errors.New("signing key is not known yet")

// ErrBadSignature means that a signature does not fit its message.
var ErrBadSignature = errors.New("signature does not fit")

// Sign signs a message with the current key. The message must begin with a
// string that says what it is, so that no signature serves two purposes.
func (i *Identity) Sign(message []byte) (Signature, error) {
	svid := i.current.Load().svid
	digest, opts := digestFor(svid.PrivateKey.Public(), message)
	sig, err := svid.PrivateKey.Sign(rand.Reader, digest, opts)
	if err != nil {
		return Signature{}, fmt.Errorf("signature: %w", err)
	}
	s := Signature{KeyID: keyID(svid.Certificates[0].Raw), Sig: sig}
	for _, cert := range svid.Certificates {
		s.Chain = append(s.Chain, cert.Raw)
	}
	return s, nil
}

// Verify checks a signature over a message and says who made it. Whether the
// certificate is in date is not asked, so that no clock can decide which
// answers are right: connections check dates, and a compromised key is removed
// with its root. Errors: ErrUnknownKey, ErrBadSignature, *RefusedError.
func (i *Identity) Verify(message []byte, s Signature) (*Signer, error) {
	if len(s.KeyID) != keyIDLen || len(s.Sig) > maxSigLen {
		return nil, ErrBadSignature
	}
	signer, err := i.current.Load().signers.get(s)
	if err != nil {
		return nil, err
	}
	if !signer.verify(message, s.Sig) {
		return nil, fmt.Errorf("%s: %w", signer.ID, ErrBadSignature)
	}
	return signer, nil
}

// Signer is who made a signature, and the chain of certificates that others
// need to check it. Immutable.
type Signer struct {
	ID     ID
	Chain  [][]byte // as in Signature, never empty
	public crypto.PublicKey
}

// signers remembers keys whose chains were verified under one bundle.
type signers struct {
	bundle *x509bundle.Bundle // nil: accept any chain

	mu    sync.Mutex
	known map[[keyIDLen]byte]*Signer
}

func newSigners(bundle *x509bundle.Bundle) *signers {
	return &signers{bundle: bundle, known: map[[keyIDLen]byte]*Signer{}}
}

// keep takes over from before the roots changed what these still vouch for: a
// key that is unknown costs a pull, and there are a thousand clusters.
func (s *signers) keep(before *signers) {
	before.mu.Lock()
	known := maps.Clone(before.known)
	before.mu.Unlock()
	for key, signer := range known {
		if again, err := s.verifyChain(key, signer.Chain); err == nil {
			s.known[key] = again
		}
	}
}

func (s *signers) get(sig Signature) (*Signer, error) {
	key := [keyIDLen]byte(sig.KeyID)
	s.mu.Lock()
	known := s.known[key]
	s.mu.Unlock()
	if known != nil {
		return known, nil
	}
	if len(sig.Chain) == 0 {
		return nil, ErrUnknownKey
	}
	made, err := s.verifyChain(key, sig.Chain)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for other := range s.known {
		if len(s.known) < maxSigners {
			break
		}
		delete(s.known, other) // any: it comes back with a pull
	}
	s.known[key] = made
	return made, nil
}

func (s *signers) verifyChain(key [keyIDLen]byte, chain [][]byte) (*Signer, error) {
	if len(chain) > maxChain {
		return nil, fmt.Errorf("certificate chain: %d certificates, at most %d are allowed: %w", len(chain), maxChain, ErrBadSignature)
	}
	var certs []*x509.Certificate
	for _, der := range chain {
		if len(der) > maxCertLen {
			return nil, fmt.Errorf("certificate chain: certificate of %d octets, at most %d are allowed: %w", len(der), maxCertLen, ErrBadSignature)
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("certificate chain: %w: %w", ErrBadSignature, err)
		}
		certs = append(certs, cert)
	}
	if [keyIDLen]byte(keyID(chain[0])) != key {
		return nil, fmt.Errorf("certificate chain: is not that of the key id: %w", ErrBadSignature)
	}
	spiffe, err := x509svid.IDFromCert(certs[0])
	if err != nil {
		return nil, refusal("", certs, s.bundle, err)
	}
	if s.bundle != nil {
		if err := verifyUndated(certs, s.bundle); err != nil {
			return nil, refusal(spiffe.String(), certs, s.bundle, err)
		}
	}
	id, err := parseID(spiffe)
	if err != nil {
		return nil, &RefusedError{Reason: ReasonWrongIdentity, Peer: spiffe.String(), Err: err}
	}
	return &Signer{ID: id, public: certs[0].PublicKey, Chain: chain}, nil
}

// verifyUndated checks a chain without asking whether it is in date now: only
// that it was at some time. That is the leaf's beginning, or where a root or an
// intermediate was renewed with its key since then, that one's.
func verifyUndated(certs []*x509.Certificate, bundle *x509bundle.Bundle) error {
	begins := certs[0].NotBefore
	_, _, err := x509svid.Verify(certs, bundle, x509svid.WithTime(begins))
	if err == nil {
		return nil
	}
	for _, above := range slices.Concat(certs[1:], bundle.X509Authorities()) {
		if !above.NotBefore.After(begins) {
			continue
		}
		if _, _, err := x509svid.Verify(certs, bundle, x509svid.WithTime(above.NotBefore)); err == nil {
			return nil
		}
	}
	return err
}

func (s *Signer) verify(message, sig []byte) bool {
	digest, _ := digestFor(s.public, message)
	switch key := s.public.(type) {
	case *ecdsa.PublicKey:
		return ecdsa.VerifyASN1(key, digest, sig)
	case ed25519.PublicKey:
		return ed25519.Verify(key, digest, sig)
	case *rsa.PublicKey:
		return rsa.VerifyPKCS1v15(key, crypto.SHA256, digest, sig) == nil
	}
	return false
}

// digestFor is what is signed with a key: Ed25519 hashes by itself.
func digestFor(public crypto.PublicKey, message []byte) ([]byte, crypto.SignerOpts) {
	if _, ok := public.(ed25519.PublicKey); ok {
		return message, crypto.Hash(0)
	}
	sum := sha256.Sum256(message)
	return sum[:], crypto.SHA256
}

func keyID(leaf []byte) []byte {
	sum := sha256.Sum256(leaf)
	return sum[:keyIDLen]
}
