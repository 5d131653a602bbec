package deploy_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/isthmus-dns/isthmus/gossip/trust"
)

// configs are the files that a form's Pods mount, by name.
func configs(t *testing.T, objects []*unstructured.Unstructured) map[string]string {
	t.Helper()
	files := map[string]string{}
	for _, object := range objects {
		if object.GetKind() != "ConfigMap" {
			continue
		}
		data, _, err := unstructured.NestedStringMap(object.Object, "data")
		require.NoError(t, err)
		for name, text := range data {
			files[name] = text
		}
	}
	return files
}

// filled puts values in where overlays/cluster waits for one, which `isthmus
// check` refuses as it is.
var filled = strings.NewReplacer("CLUSTER", "west", "ADDRESS", "192.0.2.1", "PEER", "198.51.100.1")

// TestProgramTakesConfigurations: `isthmus check` has nothing to say of any
// form's files but that the certificates are not here.
func TestProgramTakesConfigurations(t *testing.T) {
	binary := os.Getenv("ISTHMUS_BIN")
	if binary == "" {
		t.Skip("ISTHMUS_BIN names no isthmus program: `make e2e` builds it and sets the variable")
	}
	all := forms(t)
	all["helm, watcher.yaml"] = rendered(t, "network=n1", "locality=us-west1/us-west1-a", "source.export=all",
		"gateways[0].name=default", "gateways[0].addresses={192.0.2.10}", "gateways[0].port=15443", "gateways[0].check.type=tcp",
		"gateways[0].zone=us-west1-a", "gateways[0].weight=1", "gateways[1].name=edge", "gateways[1].hostname=lb.example.net",
		"import.clusters.allow={*}", "import.clusters.deny={test-*}", "import.rules[0].clusters={partner-*}",
		"import.rules[0].namespaces={shop}", "import.rules[0].services=500", "import.rules[0].octets=4MiB", "import.rules[0].aliases=false",
		"forget=48h", "routing.order=locality", "routing.affinity=none", "routing.failover[0].from=us-west1",
		"routing.failover[0].to={us-central1}", "routing.distribute[0].from=us-west1/*", "routing.distribute[0].to.us-west1/*=80",
		"routing.distribute[0].to.us-central1/*=20", "routing.services[0].match=production/payment-*",
		"routing.services[0].order=latency", "routing.services[0].affinity=client",
		"health.interval=2s", "health.timeout=500ms", "health.unhealthy=2", "health.healthy=1")
	for name, objects := range all {
		t.Run(name, func(t *testing.T) {
			files := configs(t, objects)
			require.Len(t, files, 2)
			for flag, file := range map[string]string{"-c": "watcher.yaml", "-conf": "Corefile"} {
				path := filepath.Join(t.TempDir(), file)
				text := filled.Replace(files[file])
				require.NotEmpty(t, text, file)
				require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
				out, err := exec.Command(binary, "check", flag, path).CombinedOutput()
				var exit *exec.ExitError
				require.True(t, errors.As(err, &exit), "%v", err)
				lines := strings.Split(strings.TrimSpace(string(out)), "\n")
				require.Len(t, lines, 1, "%s\n%s", out, text)
				require.Regexp(t, `/etc/isthmus-tls/tls\.crt.*(does not exist|no such file)`, lines[0])
			}
		})
	}
}

// TestFragmentsAreTaken: each part of a watcher.yaml that README.md shows is one
// that the program takes.
func TestFragmentsAreTaken(t *testing.T) {
	binary := os.Getenv("ISTHMUS_BIN")
	if binary == "" {
		t.Skip("ISTHMUS_BIN names no isthmus program: `make e2e` builds it and sets the variable")
	}
	text, err := os.ReadFile("README.md")
	require.NoError(t, err)
	least, err := os.ReadFile(filepath.Join("overlays", "cluster", "watcher.yaml"))
	require.NoError(t, err)
	fragments := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	require.NotEmpty(t, fragments)
	for _, m := range fragments {
		if strings.HasPrefix(m[1], "apiVersion:") {
			continue // an object of Kubernetes, and no part of watcher.yaml
		}
		file := filepath.Join(t.TempDir(), "watcher.yaml")
		require.NoError(t, os.WriteFile(file, []byte(filled.Replace(string(least))+m[1]), 0o600))
		out, err := exec.Command(binary, "check", "-c", file).CombinedOutput()
		require.Error(t, err)
		require.Regexp(t, `^\S+ \S+ tls: /etc/isthmus-tls/tls\.crt: [^\n]*\n$`, string(out), "%s", m[1])
	}
}

// identities are who the Pods of a form must be: those whom watcher.yaml and
// the Corefile name.
func identities(t *testing.T, objects []*unstructured.Unstructured) map[string]trust.ID {
	t.Helper()
	var config struct{ Clusterset, Cluster string }
	require.NoError(t, yaml.Unmarshal([]byte(configs(t, objects)["watcher.yaml"]), &config))
	return map[string]trust.ID{
		"isthmus-watcher-tls": {Clusterset: config.Clusterset, Cluster: config.Cluster, Role: trust.Watcher},
		"isthmus-agent-tls":   {Clusterset: config.Clusterset, Cluster: config.Cluster, Role: trust.Agent},
	}
}

// TestCertificatesAreIdentities: what cert-manager would issue for the
// Certificates is what the program wants to be.
func TestCertificatesAreIdentities(t *testing.T) {
	for name, objects := range map[string][]*unstructured.Unstructured{
		"overlay": kustomize(t, filepath.Join("overlays", "cert-manager")),
		"helm":    rendered(t, "tls.certManager.enabled=true", "cluster=east", "clusterset=example.org"),
	} {
		t.Run(name, func(t *testing.T) {
			want := identities(t, objects)
			for _, object := range objects {
				if object.GetKind() != "Certificate" {
					continue
				}
				spec, _, err := unstructured.NestedMap(object.Object, "spec")
				require.NoError(t, err)
				secret := spec["secretName"].(string)
				got, err := trust.Load(issue(t, spec), want[secret].Clusterset)
				require.NoError(t, err)
				require.Equal(t, want[secret], got.ID())
				delete(want, secret)
			}
			require.Empty(t, want)
		})
	}
}

// issue makes what cert-manager's CA issuer would for a Certificate's spec.
func issue(t *testing.T, spec map[string]any) trust.Files {
	t.Helper()
	certificate := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: spec["commonName"].(string)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), BasicConstraintsValid: true,
	}
	require.LessOrEqual(t, len(certificate.Subject.CommonName), 64, "RFC 5280: ub-common-name")
	for _, uri := range spec["uris"].([]any) {
		u, err := url.Parse(uri.(string))
		require.NoError(t, err)
		certificate.URIs = append(certificate.URIs, u)
	}
	for _, usage := range spec["usages"].([]any) {
		switch usage {
		case "digital signature":
			certificate.KeyUsage |= x509.KeyUsageDigitalSignature
		case "server auth":
			certificate.ExtKeyUsage = append(certificate.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
		case "client auth":
			certificate.ExtKeyUsage = append(certificate.ExtKeyUsage, x509.ExtKeyUsageClientAuth)
		default:
			t.Fatalf("usage %s", usage)
		}
	}
	require.Len(t, certificate.ExtKeyUsage, 2, "a watcher is server and client")
	require.Equal(t, map[string]any{"algorithm": "ECDSA", "size": float64(256), "rotationPolicy": "Always"}, spec["privateKey"])
	for _, field := range []string{"duration", "renewBefore"} {
		_, err := time.ParseDuration(spec[field].(string))
		require.NoError(t, err)
	}
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "root"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	rootKey, key := newKey(t), newKey(t)
	rootDER, err := x509.CreateCertificate(rand.Reader, root, root, rootKey.Public(), rootKey)
	require.NoError(t, err)
	der, err := x509.CreateCertificate(rand.Reader, certificate, root, key.Public(), rootKey)
	require.NoError(t, err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	dir := t.TempDir()
	files := trust.Files{Cert: filepath.Join(dir, "tls.crt"), Key: filepath.Join(dir, "tls.key"), CA: filepath.Join(dir, "ca.crt")}
	for file, block := range map[string]*pem.Block{
		files.Cert: {Type: "CERTIFICATE", Bytes: der}, files.Key: {Type: "PRIVATE KEY", Bytes: keyDER}, files.CA: {Type: "CERTIFICATE", Bytes: rootDER},
	} {
		require.NoError(t, os.WriteFile(file, pem.EncodeToMemory(block), 0o600))
	}
	return files
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return key
}
