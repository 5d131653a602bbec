package pki

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/gossip/trust"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// Secrets gives a cluster's two Secrets as YAML for kubectl apply:
// isthmus-watcher-tls and isthmus-agent-tls, as deploy/base mounts them, of type
// kubernetes.io/tls with the root
// beside the pair, as cert-manager writes them. The root's key is in neither.
func (f Folder) Secrets(cluster, namespace string) ([]byte, error) {
	for what, name := range map[string]string{"cluster": cluster, "namespace": namespace} {
		if err := discovery.ValidLabel(name); err != nil {
			return nil, fmt.Errorf("%s %q %w", what, name, err)
		}
	}
	ca, err := os.ReadFile(f.CA())
	if err != nil {
		return nil, noRoot(err)
	}
	var out bytes.Buffer
	for _, role := range []trust.Role{trust.Watcher, trust.Agent} {
		cert, err := f.issued(f.Cert(cluster, role), cluster)
		if err != nil {
			return nil, err
		}
		key, err := f.issued(f.Key(cluster, role), cluster)
		if err != nil {
			return nil, err
		}
		text, err := yaml.Marshal(corev1.Secret{
			TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
			ObjectMeta: metav1.ObjectMeta{Name: "isthmus-" + string(role) + "-tls", Namespace: namespace},
			Type:       corev1.SecretTypeTLS,
			Data:       map[string][]byte{"tls.crt": cert, "tls.key": key, "ca.crt": ca},
		})
		if err != nil {
			return nil, fmt.Errorf("secret of the %s: %w", role, err)
		}
		out.WriteString("---\n")
		out.Write(text)
	}
	return out.Bytes(), nil
}

func (f Folder) issued(file, cluster string) ([]byte, error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: make it with isthmus pki issue --dir %s --cluster %s", err, f, cluster)
	}
	return text, err
}
