package kubetest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	authv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/isthmus-dns/isthmus/test/freeport"
)

// Env names the environment variable with the path of the kube binary.
const Env = "ISTHMUS_KUBE"

// startTimeout is far above the 3 s that an API server takes on a free
// machine, for one that shares two cores with other tests.
const startTimeout = 90 * time.Second

// Cluster is a running API server with its etcd. Its methods fail the test
// they were started for; call them from that test's goroutine.
type Cluster struct {
	t      testing.TB
	binary string
	dir    string
	ca     *authority
	port   string // of the API server, the same after StopAPI and StartAPI
	etcd   string // client URL
	peer   string // etcd's other URL
	store  *process
	api    *process
	admin  *rest.Config
	client kubernetes.Interface
}

// Start runs etcd and an API server until the test ends, and returns when the
// API server is ready. Tests that need several clusters call it in parallel
// subtests or with StartAll.
func Start(t testing.TB) *Cluster {
	t.Helper()
	return StartAll(t, 1)[0]
}

// StartAll starts n clusters side by side.
func StartAll(t testing.TB, n int) []*Cluster {
	t.Helper()
	binary := os.Getenv(Env)
	if binary == "" {
		t.Skip(Env + " names no kube binary: `make e2e` builds it and sets the variable")
	}
	clusters := make([]*Cluster, n)
	errs := make(chan error, n)
	for i := range clusters {
		c := &Cluster{t: t, binary: binary, dir: t.TempDir()}
		clusters[i] = c
		go func() { errs <- c.start() }()
	}
	var failed error
	for range clusters {
		failed = errors.Join(failed, <-errs)
	}
	require.NoError(t, failed)
	return clusters
}

func (c *Cluster) start() error {
	if err := c.credentials(); err != nil {
		return err
	}
	if err := c.etcdURLs(); err != nil {
		return err
	}
	c.t.Cleanup(func() { c.store.kill() })
	if err := c.startEtcd(); err != nil {
		return err
	}
	var err error
	if c.port, err = freeport.Take(); err != nil {
		return err
	}
	if c.admin, err = c.config("kubetest-admin", "system:masters"); err != nil {
		return err
	}
	if c.client, err = kubernetes.NewForConfig(c.admin); err != nil {
		return fmt.Errorf("admin client: %w", err)
	}
	c.t.Cleanup(func() { c.api.kill() })
	return c.startAPI()
}

// credentials writes what the API server proves itself and others by.
func (c *Cluster) credentials() error {
	var err error
	if c.ca, err = newAuthority(); err != nil {
		return err
	}
	server, err := c.ca.server()
	if err != nil {
		return err
	}
	tokens, err := c.ca.client("service-account-tokens") // only its key is used
	if err != nil {
		return err
	}
	for name, data := range map[string][]byte{
		"ca.crt": c.ca.pem, "apiserver.crt": server.cert, "apiserver.key": server.key, "tokens.key": tokens.key,
	} {
		if err := os.WriteFile(c.path(name), data, 0o600); err != nil {
			return fmt.Errorf("credentials: %w", err)
		}
	}
	return nil
}

func (c *Cluster) path(name string) string { return filepath.Join(c.dir, name) }

// etcdURLs finds etcd's addresses, which stay when it is started again.
func (c *Cluster) etcdURLs() error {
	for _, url := range []*string{&c.etcd, &c.peer} {
		port, err := freeport.Take()
		if err != nil {
			return err
		}
		*url = "http://127.0.0.1:" + port
	}
	return nil
}

func (c *Cluster) startEtcd() error {
	var err error
	c.store, err = start(c.binary, c.path("etcd.log"), "etcd",
		"--data-dir="+c.path("etcd"),
		"--listen-client-urls="+c.etcd, "--advertise-client-urls="+c.etcd,
		"--listen-peer-urls="+c.peer, "--initial-advertise-peer-urls="+c.peer,
		"--initial-cluster=default="+c.peer,
		"--unsafe-no-fsync", "--log-level=warn")
	if err != nil {
		return err
	}
	return wait(c.store, http.DefaultClient, c.etcd+"/health")
}

func (c *Cluster) startAPI() error {
	var err error
	c.api, err = start(c.binary, c.path("kube-apiserver.log"), "kube-apiserver",
		"--etcd-servers="+c.etcd,
		"--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", "--secure-port="+c.port,
		"--endpoint-reconciler-type=none", // the kubernetes Service refuses loopback endpoints
		"--authorization-mode=RBAC",
		"--client-ca-file="+c.path("ca.crt"),
		"--tls-cert-file="+c.path("apiserver.crt"), "--tls-private-key-file="+c.path("apiserver.key"),
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
		"--service-account-key-file="+c.path("tokens.key"),
		"--service-account-signing-key-file="+c.path("tokens.key"),
		"--service-cluster-ip-range=10.96.0.0/16",
		"--allow-privileged")
	if err != nil {
		return err
	}
	client, err := rest.HTTPClientFor(c.admin)
	if err != nil {
		return fmt.Errorf("admin client: %w", err)
	}
	defer client.CloseIdleConnections()
	return wait(c.api, client, c.admin.Host+"/readyz")
}

// wait asks a URL until it answers 200 or the program ends.
func wait(p *process, client *http.Client, url string) error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		if resp, err := client.Do(req); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-tick.C:
		case <-p.exited:
			return fmt.Errorf("%s ended before it was ready: %s", p.name, p.tail())
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready after %v: %s", p.name, startTimeout, p.tail())
		}
	}
}

// StopAPI kills the API server; etcd and all data stay.
func (c *Cluster) StopAPI() {
	c.api.kill()
}

// StartAPI starts the API server again at the same address and waits until it
// is ready.
func (c *Cluster) StartAPI() {
	c.t.Helper()
	require.False(c.t, c.api.alive(), "API server runs already")
	require.NoError(c.t, c.startAPI())
}

// Admin is a configuration with every right (group system:masters).
func (c *Cluster) Admin() *rest.Config { return rest.CopyConfig(c.admin) }

// Client is an admin's client.
func (c *Cluster) Client() kubernetes.Interface { return c.client }

// User is a configuration for a user that the API server knows by a client
// certificate. RBAC alone decides what the user may do.
func (c *Cluster) User(name string, groups ...string) *rest.Config {
	c.t.Helper()
	config, err := c.config(name, groups...)
	require.NoError(c.t, err)
	return config
}

// ServiceAccount is a configuration for the user and the groups that a
// ServiceAccount's token stands for. The ServiceAccount need not exist.
func (c *Cluster) ServiceAccount(namespace, name string) *rest.Config {
	c.t.Helper()
	return c.User("system:serviceaccount:"+namespace+":"+name,
		"system:serviceaccounts", "system:serviceaccounts:"+namespace, "system:authenticated")
}

// Token is a configuration with a token of an existing ServiceAccount, valid
// for an hour.
func (c *Cluster) Token(namespace, name string) *rest.Config {
	c.t.Helper()
	seconds := int64(3600)
	token, err := c.client.CoreV1().ServiceAccounts(namespace).CreateToken(c.t.Context(), name,
		&authv1.TokenRequest{Spec: authv1.TokenRequestSpec{ExpirationSeconds: &seconds}}, metav1.CreateOptions{})
	require.NoError(c.t, err)
	config := rest.AnonymousClientConfig(c.admin)
	config.BearerToken = token.Status.Token
	return config
}

func (c *Cluster) config(user string, groups ...string) (*rest.Config, error) {
	identity, err := c.ca.client(user, groups...)
	if err != nil {
		return nil, err
	}
	return &rest.Config{
		Host: "https://127.0.0.1:" + c.port,
		TLSClientConfig: rest.TLSClientConfig{
			CAData: c.ca.pem, CertData: identity.cert, KeyData: identity.key,
		},
		QPS: -1, // a test that writes 2,000 objects must not wait for a client-side limit
	}, nil
}
