package trust_test

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/gossip/trust"
)

// issue writes an identity's files and returns their names.
func issue(t testing.TB, dir string, a *trust.Authority, id trust.ID, lifetime time.Duration) trust.Files {
	cert, key, err := a.Issue(id, lifetime)
	require.NoError(t, err)
	f := trust.Files{Cert: filepath.Join(dir, "tls.crt"), Key: filepath.Join(dir, "tls.key"), CA: filepath.Join(dir, "ca.crt")}
	for path, data := range map[string][]byte{f.Cert: cert, f.Key: key, f.CA: a.CertPEM()} {
		require.NoError(t, os.WriteFile(path, data, 0o600))
	}
	return f
}

func authority(t testing.TB) *trust.Authority {
	a, err := trust.NewAuthority("prod")
	require.NoError(t, err)
	return a
}

func load(t testing.TB, a *trust.Authority, cluster string, role trust.Role) *trust.Identity {
	i, err := trust.Load(issue(t, t.TempDir(), a, trust.ID{Clusterset: "prod", Cluster: cluster, Role: role}, time.Hour), "prod")
	require.NoError(t, err)
	return i
}

// handshake connects two sides over loopback and returns both results.
func handshake(t testing.TB, server, client *tls.Config) (peer trust.ID, serverErr, clientErr error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	done := make(chan error, 1)
	go func() {
		raw, err := l.Accept()
		if err != nil {
			done <- err
			return
		}
		defer raw.Close()
		conn := tls.Server(raw, server)
		err = conn.Handshake()
		if err == nil {
			peer, err = trust.PeerID(conn.ConnectionState())
		}
		done <- err
	}()
	raw, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	defer raw.Close()
	conn := tls.Client(raw, client)
	clientErr = conn.Handshake()
	if clientErr != nil {
		raw.Close()
	}
	serverErr = <-done
	return peer, serverErr, clientErr
}

func TestPeersOfOneRoot(t *testing.T) {
	a := authority(t)
	west, east := load(t, a, "west", trust.Watcher), load(t, a, "east", trust.Watcher)
	peer, serverErr, clientErr := handshake(t, west.Server(nil, "h2"), east.Client(nil, "west", "h2"))
	require.NoError(t, serverErr)
	require.NoError(t, clientErr)
	require.Equal(t, trust.ID{Clusterset: "prod", Cluster: "east", Role: trust.Watcher}, peer)
	require.Equal(t, "spiffe://prod/cluster/east/watcher", peer.String())
}

func TestRefusals(t *testing.T) {
	a := authority(t)
	west := load(t, a, "west", trust.Watcher)
	stranger := load(t, authority(t), "east", trust.Watcher)
	expired, err := trust.Load(issue(t, t.TempDir(), a, trust.ID{Clusterset: "prod", Cluster: "east", Role: trust.Watcher}, -time.Minute), "prod")
	require.NoError(t, err, "an expired certificate must not keep DNS from starting")
	anonymous := load(t, a, "east", trust.Watcher).Client(nil, "west", "h2")
	anonymous.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &tls.Certificate{}, nil }
	denied := errors.New("is not wanted here")
	for what, test := range map[string]struct {
		client *tls.Config
		allow  func(trust.ID) error
		reason trust.Reason
		says   []string
	}{
		"another root":   {stranger.Client(nil, "", "h2"), nil, trust.ReasonWrongRoot, []string{"spiffe://prod/cluster/east/watcher", "prod root", "does not chain"}},
		"no certificate": {anonymous, nil, trust.ReasonNoCertificate, []string{"presented no certificate"}},
		"expired":        {expired.Client(nil, "", "h2"), nil, trust.ReasonExpired, []string{"spiffe://prod/cluster/east/watcher", "expired"}},
		"not allowed": {
			load(t, a, "east", trust.Agent).Client(nil, "", "h2"), func(trust.ID) error { return denied },
			trust.ReasonWrongIdentity,
			[]string{"spiffe://prod/cluster/east/agent", "is not wanted here"},
		},
	} {
		t.Run(what, func(t *testing.T) {
			// A client that trusts nobody's root yet would stop first: let it go on.
			test.client.VerifyConnection = nil
			_, err, _ := handshake(t, west.Server(test.allow, "h2"), test.client)
			var refused *trust.RefusedError
			require.ErrorAs(t, err, &refused)
			require.Equal(t, test.reason, refused.Reason)
			for _, s := range test.says {
				require.ErrorContains(t, err, s)
			}
		})
	}
	t.Run("client refuses a server of another root", func(t *testing.T) {
		_, _, err := handshake(t, stranger.Server(nil, "h2"), west.Client(nil, "", "h2"))
		require.ErrorContains(t, err, "does not chain to a trusted root")
	})
}

func TestLoadErrorsNameFileAndFix(t *testing.T) {
	a := authority(t)
	id := trust.ID{Clusterset: "prod", Cluster: "west", Role: trust.Watcher}
	for what, test := range map[string]struct {
		spoil func(*trust.Files)
		says  []string
	}{
		"no such file": {func(f *trust.Files) { f.Key += "x" }, []string{"tls.keyx", "does not exist", "isthmus pki"}},
		"no file":      {func(f *trust.Files) { f.CA = "" }, []string{"no CA file", "insecure: true"}},
		"not PEM":      {func(f *trust.Files) { write(t, f.Cert, "hello") }, []string{"tls.crt", "isthmus pki issue"}},
		"key of another": {func(f *trust.Files) {
			_, key, err := a.Issue(id, time.Hour)
			require.NoError(t, err)
			write(t, f.Key, string(key))
		}, []string{"tls.crt", "tls.key"}},
		"empty CA":     {func(f *trust.Files) { write(t, f.CA, "") }, []string{"ca.crt"}},
		"another root": {func(f *trust.Files) { write(t, f.CA, string(authority(t).CertPEM())) }, []string{"tls.crt", "does not chain", "ca.crt"}},
		"too large":    {func(f *trust.Files) { write(t, f.CA, string(make([]byte, 1<<21))) }, []string{"ca.crt", "larger"}},
	} {
		t.Run(what, func(t *testing.T) {
			f := issue(t, t.TempDir(), a, id, time.Hour)
			test.spoil(&f)
			_, err := trust.Load(f, "prod")
			require.Error(t, err)
			for _, s := range test.says {
				require.ErrorContains(t, err, s)
			}
			require.NotContains(t, err.Error(), "\n")
		})
	}
	f := issue(t, t.TempDir(), a, id, time.Hour)
	_, err := trust.Load(f, "staging")
	require.ErrorContains(t, err, `names clusterset "prod"`)
}

func TestReload(t *testing.T) {
	a := authority(t)
	dir := t.TempDir()
	id := trust.ID{Clusterset: "prod", Cluster: "west", Role: trust.Watcher}
	i, err := trust.Load(issue(t, dir, a, id, time.Hour), "prod")
	require.NoError(t, err)
	before := i.NotAfter()
	issue(t, dir, a, id, 48*time.Hour)
	require.NoError(t, i.Reload())
	require.True(t, i.NotAfter().After(before))

	issue(t, dir, a, trust.ID{Clusterset: "prod", Cluster: "east", Role: trust.Watcher}, time.Hour)
	require.ErrorContains(t, i.Reload(), "this process is spiffe://prod/cluster/west/watcher")
	require.Equal(t, id, i.ID(), "the old state stays")
}

func TestTwoRootsAtOnce(t *testing.T) {
	oldRoot, newRoot := authority(t), authority(t)
	both := append(oldRoot.CertPEM(), newRoot.CertPEM()...)
	identity := func(a *trust.Authority, cluster string) *trust.Identity {
		f := issue(t, t.TempDir(), a, trust.ID{Clusterset: "prod", Cluster: cluster, Role: trust.Watcher}, time.Hour)
		write(t, f.CA, string(both))
		i, err := trust.Load(f, "prod")
		require.NoError(t, err)
		return i
	}
	_, serverErr, clientErr := handshake(t, identity(oldRoot, "west").Server(nil), identity(newRoot, "east").Client(nil, ""))
	require.NoError(t, serverErr)
	require.NoError(t, clientErr)
}

func TestSignatures(t *testing.T) {
	a := authority(t)
	east, west := load(t, a, "east", trust.Watcher), load(t, a, "west", trust.Watcher)
	message := []byte("test message v1\nhello")
	s, err := east.Sign(message)
	require.NoError(t, err)
	bare := s
	bare.Chain = nil
	_, err = west.Verify(message, bare)
	require.ErrorIs(t, err, trust.ErrUnknownKey)
	by, err := west.Verify(message, s)
	require.NoError(t, err)
	require.Equal(t, "east", by.ID.Cluster)
	by, err = west.Verify(message, bare)
	require.NoError(t, err, "the chain is remembered")
	require.Equal(t, s.Chain, by.Chain)
	_, err = west.Verify([]byte("test message v1\nhallo"), s)
	require.ErrorIs(t, err, trust.ErrBadSignature)

	foreign, err := load(t, authority(t), "east", trust.Watcher).Sign(message)
	require.NoError(t, err)
	_, err = west.Verify(message, foreign)
	require.ErrorContains(t, err, "does not chain to a trusted root")

	mixed := foreign
	mixed.KeyID = s.KeyID
	_, err = load(t, a, "north", trust.Watcher).Verify(message, mixed)
	require.Error(t, err, "a chain must be that of its key id")
}

func TestInsecure(t *testing.T) {
	i, err := trust.Insecure(trust.ID{Clusterset: "demo", Cluster: "west", Role: trust.Watcher})
	require.NoError(t, err)
	require.True(t, i.Plaintext())
	other, err := trust.Insecure(trust.ID{Clusterset: "demo", Cluster: "east", Role: trust.Watcher})
	require.NoError(t, err)
	s, err := other.Sign([]byte("x"))
	require.NoError(t, err)
	by, err := i.Verify([]byte("x"), s)
	require.NoError(t, err)
	require.Equal(t, "east", by.ID.Cluster)
}

func FuzzVerify(f *testing.F) {
	i := load(f, authority(f), "west", trust.Watcher)
	s, err := i.Sign([]byte("m"))
	require.NoError(f, err)
	f.Add(s.KeyID, s.Sig, s.Chain[0])
	f.Fuzz(func(t *testing.T, keyID, sig, cert []byte) {
		by, err := i.Verify([]byte("another message"), trust.Signature{KeyID: keyID, Sig: sig, Chain: [][]byte{cert}})
		require.Error(t, err, "%v", by)
	})
}

func FuzzAuthority(f *testing.F) {
	a := authority(f)
	key, err := a.KeyPEM()
	require.NoError(f, err)
	f.Add(a.CertPEM(), key)
	f.Fuzz(func(t *testing.T, cert, key []byte) {
		loaded, err := trust.LoadAuthority(cert, key)
		require.Equal(t, err == nil, loaded != nil)
	})
}

func write(t testing.TB, path, data string) {
	require.NoError(t, os.WriteFile(path, []byte(data), 0o600))
}
