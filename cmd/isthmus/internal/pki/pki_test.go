package pki

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/isthmus-dns/isthmus/gossip/trust"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

func made(t *testing.T) Folder {
	t.Helper()
	f := Folder(filepath.Join(t.TempDir(), "pki"))
	require.NoError(t, f.Init("prod", false))
	_, err := f.Issue("west", 24*time.Hour)
	require.NoError(t, err)
	return f
}

func TestIssuedFilesAreAnIdentity(t *testing.T) {
	f := made(t)
	for _, role := range []trust.Role{trust.Watcher, trust.Agent} {
		id, err := trust.Load(trust.Files{Cert: f.Cert("west", role), Key: f.Key("west", role), CA: f.CA()}, "prod")
		require.NoError(t, err)
		require.Equal(t, trust.ID{Clusterset: "prod", Cluster: "west", Role: role}, id.ID())
		require.WithinDuration(t, time.Now().Add(24*time.Hour), id.NotAfter(), time.Minute)
		info, err := os.Stat(f.Key("west", role))
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	}
	info, err := os.Stat(f.CAKey())
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
}

func TestInitKeepsAnExistingRoot(t *testing.T) {
	f := made(t)
	before, err := os.ReadFile(f.CA())
	require.NoError(t, err)
	require.ErrorIs(t, f.Init("prod", false), ErrExists)
	require.NoError(t, os.Remove(f.CA())) // half of a root counts
	require.ErrorIs(t, f.Init("prod", false), ErrExists)
	require.NoError(t, f.Init("prod", true))
	after, err := os.ReadFile(f.CA())
	require.NoError(t, err)
	require.NotEqual(t, before, after)
	_, err = trust.Load(trust.Files{Cert: f.Cert("west", trust.Watcher), Key: f.Key("west", trust.Watcher), CA: f.CA()}, "prod")
	require.Error(t, err, "a certificate of the old root")
}

func TestSecretsHoldThePairsAndNoRootKey(t *testing.T) {
	f := made(t)
	text, err := f.Secrets("west", "dns")
	require.NoError(t, err)
	rootKey, err := os.ReadFile(f.CAKey())
	require.NoError(t, err)
	documents := bytes.Split(text, []byte("---\n"))[1:]
	require.Len(t, documents, 2)
	for i, name := range []string{"isthmus-watcher-tls", "isthmus-agent-tls"} {
		var secret corev1.Secret
		require.NoError(t, yaml.UnmarshalStrict(documents[i], &secret))
		require.Equal(t, name, secret.Name)
		require.Equal(t, "dns", secret.Namespace)
		require.Equal(t, corev1.SecretTypeTLS, secret.Type)
		_, err := tls.X509KeyPair(secret.Data["tls.crt"], secret.Data["tls.key"])
		require.NoError(t, err)
		require.True(t, x509.NewCertPool().AppendCertsFromPEM(secret.Data["ca.crt"]))
		for _, value := range secret.Data {
			require.NotEqual(t, rootKey, value)
		}
	}
}

func TestMistakes(t *testing.T) {
	empty := Folder(t.TempDir())
	f := made(t)
	for _, tt := range []struct {
		name, want string
		do         func() error
	}{
		{"no root", "make a root with isthmus pki init", func() error { _, err := empty.Issue("west", time.Hour); return err }},
		{"no root for secrets", "make a root with isthmus pki init", func() error { _, err := empty.Secrets("west", "dns"); return err }},
		{"not issued", "make it with isthmus pki issue --dir", func() error { _, err := f.Secrets("east", "dns"); return err }},
		{"bad cluster", `cluster "../x" is not a lower-case DNS label`, func() error { _, err := f.Issue("../x", time.Hour); return err }},
		{"bad cluster for secrets", `cluster "../x" is not`, func() error { _, err := f.Secrets("../x", "dns"); return err }},
		{"bad clusterset", `clusterset "A B"`, func() error { return empty.Init("A B", false) }},
	} {
		t.Run(tt.name, func(t *testing.T) { require.ErrorContains(t, tt.do(), tt.want) })
	}
	t.Run("broken root", func(t *testing.T) {
		require.NoError(t, os.WriteFile(f.CAKey(), []byte("x"), 0o600))
		_, err := f.Issue("west", time.Hour)
		require.ErrorContains(t, err, "CA key: not PEM")
	})
}

func TestIssueRenews(t *testing.T) {
	f := made(t)
	read := func() *x509.Certificate {
		text, err := os.ReadFile(f.Cert("west", trust.Watcher))
		require.NoError(t, err)
		block, _ := pem.Decode(text)
		cert, err := x509.ParseCertificate(block.Bytes)
		require.NoError(t, err)
		return cert
	}
	before := read()
	files, err := f.Issue("west", 48*time.Hour)
	require.NoError(t, err)
	require.Len(t, files, 4)
	require.True(t, read().NotAfter.After(before.NotAfter))
	left, err := filepath.Glob(filepath.Join(string(f), ".isthmus-*"))
	require.NoError(t, err)
	require.Empty(t, left)
}
