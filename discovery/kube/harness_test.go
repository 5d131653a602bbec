package kube_test

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/discovery/export"
	"github.com/isthmus-dns/isthmus/discovery/kube"
	"github.com/isthmus-dns/isthmus/test/kubetest"
)

// patience is for a machine that other tests share; what is tested takes
// milliseconds.
const patience = 20 * time.Second

// namespace is where deploy/base puts the watcher.
const namespace = "isthmus"

var (
	deploy = filepath.Join("..", "..", "deploy")
	crd    = filepath.Join(deploy, "crds", "serviceexport.yaml")
)

// startCluster runs an API server on which the watcher's account has exactly
// the rights that deploy/base gives it.
func startCluster(t *testing.T) *kubetest.Cluster {
	t.Helper()
	c := kubetest.Start(t)
	c.Apply(filepath.Join(deploy, "base", "namespace.yaml"), filepath.Join(deploy, "base", "rbac.yaml"))
	return c
}

// watcher is the configuration of the watcher's account.
func watcher(c *kubetest.Cluster) *rest.Config { return c.ServiceAccount(namespace, "isthmus-watcher") }

// newSource makes a source that talks through the given configuration.
func newSource(t *testing.T, access *rest.Config, change ...func(*kube.Config)) *kube.Source {
	t.Helper()
	clients, err := kube.ConnectTo(access)
	require.NoError(t, err)
	cfg := kube.Config{
		Client:  clients.Kubernetes,
		Dynamic: clients.Dynamic,
		Cluster: func(nodes []*corev1.Node, uid string) *discovery.Cluster {
			return &discovery.Cluster{Name: "west", UID: uid, Locality: export.ClusterLocality(nodes)}
		},
		Namespace:     namespace,
		Identity:      t.Name(),
		DiscoverEvery: 100 * time.Millisecond,
		Logger:        slog.New(slog.NewTextHandler(t.Output(), nil)),
		Registerer:    prometheus.NewRegistry(),
	}
	for _, f := range change {
		f(&cfg)
	}
	source, err := kube.New(cfg)
	require.NoError(t, err)
	return source
}

// view is what a receiver of a source's updates knows.
type view struct {
	mu       sync.Mutex
	updates  int
	removed  []discovery.Key // ever
	cluster  *discovery.Cluster
	services map[discovery.Key]*discovery.Service
	checks   map[discovery.Key]*discovery.EndpointCheck
	meant    map[discovery.Key]bool
}

// follow runs a source until the test ends and keeps what it emits.
func follow(t *testing.T, source *kube.Source) *view {
	t.Helper()
	v := &view{services: map[discovery.Key]*discovery.Service{}, checks: map[discovery.Key]*discovery.EndpointCheck{}, meant: map[discovery.Key]bool{}}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- source.Run(ctx, v.apply) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-ended:
			require.NoError(t, err)
		case <-time.After(patience):
			t.Error("Run did not return")
		}
	})
	return v
}

func (v *view) apply(u discovery.Update) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if u.Whole != (v.updates == 0) {
		panic("the first update, and no other, is whole")
	}
	v.updates++
	if u.Cluster != nil {
		v.cluster = u.Cluster
	}
	for _, s := range u.Services {
		v.services[s.Key()] = s
		v.checks[s.Key()] = u.Checks[s.Key()]
		v.meant[s.Key()] = u.Meant[s.Key()]
	}
	for _, key := range u.Removed {
		if v.services[key] == nil {
			panic("removed what was not there: " + key)
		}
		delete(v.services, key)
	}
	v.removed = append(v.removed, u.Removed...)
}

// get is the record of one service, nil if it is not exported.
func (v *view) get(namespace, name string) *discovery.Service {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.services[discovery.MakeKey(namespace, name)]
}

// means tells whether a service's gateways are said to be meant as they are.
func (v *view) means(namespace, name string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.meant[discovery.MakeKey(namespace, name)]
}

// counts is "ready/total" of one service, "" if it is not exported.
func (v *view) counts(namespace, name string) string {
	s := v.get(namespace, name)
	if s == nil {
		return ""
	}
	return fmt.Sprintf("%d/%d", s.Ready(), s.Total())
}

// gateways are those of one service, none if it is not exported.
func (v *view) gateways(namespace, name string) []discovery.Gateway {
	s := v.get(namespace, name)
	if s == nil {
		return nil
	}
	return s.Gateways
}

func (v *view) keys() []discovery.Key {
	v.mu.Lock()
	defer v.mu.Unlock()
	var keys []discovery.Key
	for key := range v.services {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

func (v *view) record() *discovery.Cluster {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.cluster
}

// everRemoved are all keys that were ever removed.
func (v *view) everRemoved() []discovery.Key {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Clone(v.removed)
}

func (v *view) count() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.updates
}

// synced waits for the first update.
func (v *view) synced(t *testing.T) {
	t.Helper()
	eventually(t, func() bool { return v.count() > 0 }, "no first update")
}

func eventually(t *testing.T, done func() bool, msg string) {
	t.Helper()
	require.Eventually(t, done, patience, 5*time.Millisecond, msg)
}

// lines collects what a source logs.
type lines struct {
	mu   sync.Mutex
	text []string
}

// to makes a source log here.
func (l *lines) to(cfg *kube.Config) { cfg.Logger = slog.New(slog.NewTextHandler(l, nil)) }

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, string(p))
	return len(p), nil
}

// has tells whether one line holds all the parts.
func (l *lines) has(parts ...string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.ContainsFunc(l.text, func(line string) bool {
		return !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(line, part) })
	})
}
