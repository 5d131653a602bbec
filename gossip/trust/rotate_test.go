package trust_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/gossip/trust"
)

// TestChangeBeforeRunIsSeen: a rotation between the start and Run would show
// only with the next one, weeks later, when the certificate has expired.
func TestChangeBeforeRunIsSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, dir := authority(t), t.TempDir()
		id := trust.ID{Clusterset: "prod", Cluster: "west", Role: trust.Watcher}
		i, err := trust.Load(issue(t, dir, a, id, time.Hour), "prod")
		require.NoError(t, err)
		before := i.NotAfter()
		issue(t, dir, a, id, 48*time.Hour)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		require.NoError(t, i.Run(ctx, slog.New(slog.DiscardHandler)))
		require.True(t, i.NotAfter().After(before))
	})
}

// TestFilesThatCouldNotBeReadAreTriedAgain: a mode that is mended, or descriptors
// that are there again, change neither a file's size nor its time. The error is
// logged once.
func TestFilesThatCouldNotBeReadAreTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, dir := authority(t), t.TempDir()
		id := trust.ID{Clusterset: "prod", Cluster: "west", Role: trust.Watcher}
		files := issue(t, dir, a, id, time.Hour)
		i, err := trust.Load(files, "prod")
		require.NoError(t, err)
		before := i.NotAfter()
		issue(t, dir, a, id, 48*time.Hour)
		key, err := os.ReadFile(files.Key)
		require.NoError(t, err)
		at := time.Unix(1_700_000_000, 0)
		put := func(content []byte) {
			write(t, files.Key, string(content))
			require.NoError(t, os.Chtimes(files.Key, at, at))
		}
		put(bytes.Repeat([]byte("x"), len(key)))
		var log bytes.Buffer
		done := make(chan error)
		ctx, cancel := context.WithCancel(t.Context())
		go func() { done <- i.Run(ctx, slog.New(slog.NewTextHandler(&log, nil))) }()
		time.Sleep(time.Minute + time.Second) // not at a look's very time
		require.Equal(t, before, i.NotAfter())
		put(key)
		time.Sleep(time.Minute)
		require.True(t, i.NotAfter().After(before))
		cancel()
		require.NoError(t, <-done)
		require.Equal(t, 1, strings.Count(log.String(), "not taken"))
		require.Equal(t, 1, strings.Count(log.String(), "reloaded"))
	})
}

// TestReloadKeepsTheKeysOfOthers: our own certificate's renewal must not make
// the keys of a thousand clusters unknown, each of which costs a pull.
func TestReloadKeepsTheKeysOfOthers(t *testing.T) {
	a, b := authority(t), authority(t)
	dir := t.TempDir()
	west := trust.ID{Clusterset: "prod", Cluster: "west", Role: trust.Watcher}
	files := issue(t, dir, a, west, time.Hour)
	i, err := trust.Load(files, "prod")
	require.NoError(t, err)
	message := []byte("test message v1\nhello")
	s, err := load(t, a, "east", trust.Watcher).Sign(message)
	require.NoError(t, err)
	_, err = i.Verify(message, s)
	require.NoError(t, err)
	s.Chain = nil

	issue(t, dir, a, west, 48*time.Hour)
	require.NoError(t, i.Reload())
	_, err = i.Verify(message, s)
	require.NoError(t, err, "the roots are the same")

	write(t, files.CA, string(a.CertPEM())+string(b.CertPEM()))
	require.NoError(t, i.Reload())
	_, err = i.Verify(message, s)
	require.NoError(t, err, "a root was added")

	issue(t, dir, b, west, time.Hour)
	require.NoError(t, i.Reload())
	_, err = i.Verify(message, s)
	require.ErrorIs(t, err, trust.ErrUnknownKey, "its root is gone")
}

// TestRenewedRoot: a root that is renewed with its key (cert-manager does that
// unless told otherwise) vouches for the certificates from before, also where
// only the renewed one is known.
func TestRenewedRoot(t *testing.T) {
	first := authority(t)
	renewed := renew(t, first)
	f := issue(t, t.TempDir(), first, trust.ID{Clusterset: "prod", Cluster: "east", Role: trust.Watcher}, time.Hour)
	write(t, f.CA, string(renewed))
	east, err := trust.Load(f, "prod")
	require.NoError(t, err, "its own certificate is from before")

	message := []byte("test message v1\nhello")
	s, err := east.Sign(message)
	require.NoError(t, err)
	by, err := load(t, first, "west", trust.Watcher).Verify(message, s)
	require.NoError(t, err)
	require.Equal(t, "east", by.ID.Cluster)
	_, err = east.Verify(message, s)
	require.NoError(t, err)

	stranger, err := load(t, authority(t), "west", trust.Watcher).Sign(message)
	require.NoError(t, err)
	_, err = east.Verify(message, stranger)
	require.ErrorContains(t, err, "does not chain to a trusted root")
}

// renew makes a root certificate for the authority's key that begins later
// than what the authority issues.
func renew(t *testing.T, a *trust.Authority) []byte {
	certBlock, _ := pem.Decode(a.CertPEM())
	root, err := x509.ParseCertificate(certBlock.Bytes)
	require.NoError(t, err)
	keyPEM, err := a.KeyPEM()
	require.NoError(t, err)
	keyBlock, _ := pem.Decode(keyPEM)
	key, err := x509.ParsePKCS8PrivateKey(keyBlock.Bytes)
	require.NoError(t, err)
	root.NotBefore = time.Now().Add(-time.Minute)
	root.SerialNumber.Add(root.SerialNumber, root.SerialNumber)
	der, err := x509.CreateCertificate(rand.Reader, root, root, key.(*ecdsa.PrivateKey).Public(), key)
	require.NoError(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// TestMalformedChainsAreBadSignatures: callers sort errors by their sentinels.
func TestMalformedChainsAreBadSignatures(t *testing.T) {
	a := authority(t)
	west := load(t, a, "west", trust.Watcher)
	message := []byte("test message v1\nhello")
	good, err := load(t, a, "east", trust.Watcher).Sign(message)
	require.NoError(t, err)
	for what, chain := range map[string][][]byte{
		"no certificate": {[]byte("x")},
		"too large":      {make([]byte, 9<<10)},
		"too long":       {nil, nil, nil, nil, nil},
	} {
		t.Run(what, func(t *testing.T) {
			bad := good
			bad.Chain = chain
			_, err := west.Verify(message, bad)
			require.ErrorIs(t, err, trust.ErrBadSignature)
		})
	}
	other := good
	other.KeyID = make([]byte, len(good.KeyID))
	_, err = west.Verify(message, other)
	require.ErrorIs(t, err, trust.ErrBadSignature, "a chain of another key")
}

// TestOpenConnectionsAreVerifiedAgain: a change of the files is told, and a
// peer whose root is gone is trusted no longer, though its handshake went well.
func TestOpenConnectionsAreVerifiedAgain(t *testing.T) {
	a, b := authority(t), authority(t)
	dir := t.TempDir()
	west := trust.ID{Clusterset: "prod", Cluster: "west", Role: trust.Watcher}
	files := issue(t, dir, a, west, time.Hour)
	i, err := trust.Load(files, "prod")
	require.NoError(t, err)
	east := load(t, a, "east", trust.Watcher).Client(nil, "")
	shown, err := east.GetClientCertificate(nil)
	require.NoError(t, err)
	cs := tls.ConnectionState{PeerCertificates: []*x509.Certificate{shown.Leaf}}
	require.NoError(t, i.Trusts(cs))
	require.Error(t, i.Trusts(tls.ConnectionState{}))

	// What an open connection showed may have expired; its peer has a new
	// certificate for the next one.
	old, err := trust.Load(issue(t, t.TempDir(), a, trust.ID{Clusterset: "prod", Cluster: "east", Role: trust.Watcher}, -time.Minute), "prod")
	require.NoError(t, err)
	was, err := old.Client(nil, "").GetClientCertificate(nil)
	require.NoError(t, err)
	require.True(t, time.Now().After(was.Leaf.NotAfter))
	require.NoError(t, i.Trusts(tls.ConnectionState{PeerCertificates: []*x509.Certificate{was.Leaf}}))

	changed := i.Changed()
	require.Empty(t, changed)
	write(t, files.CA, "no certificate")
	require.Error(t, i.Reload())
	select {
	case <-changed:
		require.Fail(t, "nothing was taken")
	default:
	}
	issue(t, dir, b, west, time.Hour)
	require.NoError(t, i.Reload())
	<-changed
	require.NotEqual(t, changed, i.Changed(), "the next change is told too")
	var refused *trust.RefusedError
	require.ErrorAs(t, i.Trusts(cs), &refused)
	require.Equal(t, trust.ReasonWrongRoot, refused.Reason)
}
