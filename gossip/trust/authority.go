package trust

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// rootLifetime of ten years: replacing a root touches every cluster, and
// several roots may stand in the bundle while it happens.
const rootLifetime = 10 * 365 * 24 * time.Hour

// backdate lets a new certificate be used by a machine whose clock is behind.
const backdate = time.Hour

// Authority is a clusterset's root: what "isthmus pki" works with. Production
// sites may use SPIRE or cert-manager instead.
type Authority struct {
	clusterset string
	cert       *x509.Certificate
	key        *ecdsa.PrivateKey
}

// NewAuthority makes a root for a clusterset (a SPIFFE trust domain name).
func NewAuthority(clusterset string) (*Authority, error) {
	td, err := spiffeid.TrustDomainFromString(clusterset)
	if err != nil {
		return nil, fmt.Errorf("clusterset %q: %w", clusterset, err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(public)
	now := time.Now()
	template := &x509.Certificate{
		// The key's digest in the name tells two roots of one clusterset
		// apart in errors.
		Subject:               pkix.Name{Organization: []string{"Isthmus"}, CommonName: clusterset + " root " + hex.EncodeToString(sum[:4])},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(rootLifetime),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		IsCA:                  true,
		BasicConstraintsValid: true,
		URIs:                  []*url.URL{td.ID().URL()},
	}
	der, err := sign(template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &Authority{clusterset: clusterset, cert: cert, key: key}, nil
}

// LoadAuthority reads what CertPEM and KeyPEM gave.
func LoadAuthority(certPEM, keyPEM []byte) (*Authority, error) {
	certBlock, _ := pem.Decode(certPEM)
	if certBlock == nil {
		return nil, errors.New("CA certificate: not PEM")
	}
	cert, err := x509.ParseCertificate(certBlock.Bytes)
	if err != nil {
		return nil, fmt.Errorf("CA certificate: %w", err)
	}
	if !cert.IsCA || len(cert.URIs) != 1 {
		return nil, errors.New("CA certificate: not a root that `isthmus pki init` made")
	}
	td, err := spiffeid.TrustDomainFromURI(cert.URIs[0])
	if err != nil {
		return nil, fmt.Errorf("CA certificate: %w", err)
	}
	keyBlock, _ := pem.Decode(keyPEM)
	if keyBlock == nil {
		return nil, errors.New("CA key: not PEM")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(keyBlock.Bytes)
	if err != nil {
		return nil, fmt.Errorf("CA key: %w", err)
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || !key.PublicKey.Equal(cert.PublicKey) {
		return nil, errors.New("CA key: does not belong to the CA certificate")
	}
	return &Authority{clusterset: td.Name(), cert: cert, key: key}, nil
}

// Clusterset is the trust domain that the root vouches for.
func (a *Authority) Clusterset() string { return a.clusterset }

// Issue makes a certificate (PEM, without the root) and its key (PKCS #8 PEM).
// The ID's clusterset must be the authority's.
func (a *Authority) Issue(id ID, lifetime time.Duration) (certPEM, keyPEM []byte, err error) {
	if id.Clusterset != a.clusterset {
		return nil, nil, fmt.Errorf("clusterset %q: this authority vouches for %q", id.Clusterset, a.clusterset)
	}
	uri, err := id.uri()
	if err != nil {
		return nil, nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: id.Cluster + " " + string(id.Role)},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(lifetime),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
		URIs:                  []*url.URL{uri.URL()},
	}
	der, err := sign(template, a.cert, key.Public(), a.key)
	if err != nil {
		return nil, nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	certPEM = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
	return certPEM, keyPEM, nil
}

// CertPEM is the root's certificate.
func (a *Authority) CertPEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}

// KeyPEM is the root's key in PKCS #8. Keep it offline.
func (a *Authority) KeyPEM() ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(a.key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

func sign(template, parent *x509.Certificate, public any, key *ecdsa.PrivateKey) ([]byte, error) {
	// RFC 5280 section 4.1.2.2: positive, at most 20 octets.
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	template.SerialNumber = serial.Add(serial, big.NewInt(1))
	return x509.CreateCertificate(rand.Reader, template, parent, public, key)
}
