package kube

import (
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/discovery/export"
)

// newWatch is a watch whose caches a test fills; no API server is asked.
func newWatch(t testing.TB) *watch {
	t.Helper()
	return newWatchOn(t, &rest.Config{Host: "127.0.0.1:1"})
}

// newWatchOn is newWatch where somebody may be asked.
func newWatchOn(t testing.TB, access *rest.Config) *watch {
	t.Helper()
	clients, err := ConnectTo(access)
	require.NoError(t, err)
	source, err := New(Config{
		Client: clients.Kubernetes, Dynamic: clients.Dynamic, Namespace: "isthmus", Identity: "a",
		Cluster: func(nodes []*corev1.Node, uid string) *discovery.Cluster {
			return &discovery.Cluster{Name: "west", UID: uid, Locality: export.ClusterLocality(nodes)}
		},
	})
	require.NoError(t, err)
	w, err := source.watch()
	require.NoError(t, err)
	return w
}

func (w *watch) put(t testing.TB, name string) {
	t.Helper()
	svc := fullService(corev1.ServiceTypeNodePort)
	svc.Name = name
	require.NoError(t, w.informers.services.GetIndexer().Add(svc))
	slice := fullSlice()
	slice.Name, slice.Labels["kubernetes.io/service-name"] = name+"-1", name
	require.NoError(t, w.informers.slices.GetIndexer().Add(slice))
}

// TestWorkBatches: what is queued together goes out together, and what is
// queued alone goes out at once.
func TestWorkBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWatch(t)
		const services = 1000
		for i := range services {
			w.put(t, fmt.Sprintf("s%d", i))
		}
		require.NoError(t, w.informers.nodes.GetIndexer().Add(fullNode()))
		w.informers.nodesChanged(nil) // names every Service and the cluster
		var updates, records atomic.Int64
		var cluster atomic.Pointer[discovery.Cluster]
		go w.work(func(u discovery.Update) {
			updates.Add(1)
			records.Add(int64(len(u.Services)))
			if u.Cluster != nil {
				cluster.Store(u.Cluster)
			}
			if u.Whole || len(u.Removed) > 0 || len(u.Services) > maxBatch {
				t.Errorf("whole %v, removed %d, services %d", u.Whole, len(u.Removed), len(u.Services))
			}
		})
		synctest.Wait()
		require.Equal(t, int64(services), records.Load())
		require.Equal(t, int64((services+1+maxBatch-1)/maxBatch), updates.Load())
		require.Equal(t, "us-west1/us-west1-a", cluster.Load().Locality.String())

		w.informers.nodesChanged(nil)
		synctest.Wait()
		require.Equal(t, int64(services), records.Load(), "what did not change is not said again")
		require.Equal(t, int64((services+1+maxBatch-1)/maxBatch), updates.Load())

		w.put(t, "one-more")
		w.queue.Add(cache.NewObjectName("shop", "one-more"))
		synctest.Wait()
		require.Equal(t, int64(services+1), records.Load())
		w.queue.ShutDown()
	})
}

// TestWorkRemovesOnce: a name that was never exported is not removed.
func TestWorkRemovesOnce(t *testing.T) {
	w := newWatch(t)
	w.put(t, "user")
	whole := w.whole()
	require.True(t, whole.Whole)
	require.Len(t, whole.Services, 1)
	user, other := cache.NewObjectName("shop", "user"), cache.NewObjectName("shop", "other")
	require.NoError(t, w.informers.services.GetIndexer().Delete(&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "user"}}))
	var u discovery.Update
	w.look(user, &u)
	w.look(user, &u)
	w.look(other, &u)
	require.Equal(t, []discovery.Key{"user.shop"}, u.Removed)
	require.Empty(t, u.Services)
	require.Empty(t, w.sent)
}

// TestFingerprintSeesEveryField changes each field of a record in turn.
func TestFingerprintSeesEveryField(t *testing.T) {
	for _, record := range []any{
		&discovery.Service{}, &discovery.Cluster{}, &discovery.Port{}, &discovery.ZoneCount{}, &discovery.Endpoint{},
		&discovery.Gateway{}, &discovery.GatewaySet{}, &discovery.Locality{},
	} {
		fields := reflect.TypeOf(record).Elem()
		seen := map[[32]byte]string{fingerprint(record): "zero"}
		for i := range fields.NumField() {
			changed := reflect.New(fields)
			set(t, changed.Elem().Field(i))
			print := fingerprint(changed.Interface())
			require.NotContains(t, seen, print, "%v.%s", fields, fields.Field(i).Name)
			seen[print] = fields.Field(i).Name
		}
	}
}

// set gives a field a value that is not its zero.
func set(t *testing.T, f reflect.Value) {
	t.Helper()
	switch f.Interface().(type) {
	case netip.Addr:
		f.Set(reflect.ValueOf(netip.MustParseAddr("192.0.2.1")))
		return
	case netip.Prefix:
		f.Set(reflect.ValueOf(netip.MustParsePrefix("192.0.2.0/24")))
		return
	}
	switch f.Kind() {
	case reflect.String:
		f.SetString("x")
	case reflect.Bool:
		f.SetBool(true)
	case reflect.Int64:
		f.SetInt(7)
	case reflect.Uint8, reflect.Uint16, reflect.Uint32:
		f.SetUint(7)
	case reflect.Slice:
		f.Set(reflect.MakeSlice(f.Type(), 1, 1))
		set(t, f.Index(0))
	case reflect.Struct:
		set(t, f.Field(0))
	default:
		t.Fatalf("no value for a %v", f.Type())
	}
}

func TestConfigValidate(t *testing.T) {
	clients, err := ConnectTo(&rest.Config{Host: "127.0.0.1:1"})
	require.NoError(t, err)
	good := func() Config {
		return Config{
			Client: clients.Kubernetes, Dynamic: clients.Dynamic, Namespace: "isthmus", Identity: "a",
			Cluster: func([]*corev1.Node, string) *discovery.Cluster { return nil },
		}
	}
	for want, spoil := range map[string]func(*Config){
		"no client":                           func(c *Config) { c.Client = nil },
		"no client ":                          func(c *Config) { c.Dynamic = nil },
		"nothing makes the cluster's record":  func(c *Config) { c.Cluster = nil },
		"no namespace for the Lease":          func(c *Config) { c.Namespace = "" },
		"no identity for the Lease":           func(c *Config) { c.Identity = "" },
		"DiscoverEvery -1ns is negative":      func(c *Config) { c.DiscoverEvery = -1 },
		"duplicate metrics collector registr": func(c *Config) { c.Registerer = taken(t) },
	} {
		t.Run(want, func(t *testing.T) {
			cfg := good()
			spoil(&cfg)
			_, err := New(cfg)
			require.ErrorContains(t, err, strings.TrimSpace(want))
		})
	}
	_, err = New(good())
	require.NoError(t, err)
}

// taken is a registry that a source has its metrics in already.
func taken(t *testing.T) prometheus.Registerer {
	registry := prometheus.NewRegistry()
	_, err := newMetrics(registry)
	require.NoError(t, err)
	return registry
}

func TestConnect(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	_, err := Connect("", "")
	require.ErrorContains(t, err, "API server access", "outside a cluster a kubeconfig is needed")
	_, err = Connect(t.TempDir()+"/none", "")
	require.ErrorContains(t, err, "API server access")
}

func BenchmarkLook(b *testing.B) {
	w := newWatch(b)
	w.put(b, "user")
	require.NoError(b, w.informers.nodes.GetIndexer().Add(fullNode()))
	key := cache.NewObjectName("shop", "user")
	b.ReportAllocs()
	for b.Loop() {
		w.look(key, &discovery.Update{})
	}
}

// TestRefresh: the cluster's record is made anew when it is asked for, and goes
// out when it has changed.
func TestRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWatch(t)
		var network atomic.Pointer[string]
		w.source.cfg.Cluster = func(_ []*corev1.Node, uid string) *discovery.Cluster {
			return &discovery.Cluster{Name: "west", UID: uid, Network: *network.Load()}
		}
		set := func(name string) {
			network.Store(&name)
			w.source.Refresh()
			synctest.Wait()
		}
		name := "a"
		network.Store(&name)
		w.whole()
		var updates []discovery.Update
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			w.work(func(u discovery.Update) { updates = append(updates, u) })
		}()
		set("a")
		require.Empty(t, updates)
		set("b")
		require.Equal(t, []discovery.Update{{Cluster: &discovery.Cluster{Name: "west", Network: "b"}}}, updates)
		w.queue.ShutDown()
		<-ended
		set("c") // nobody listens, and nothing breaks
		require.Len(t, updates, 1)
	})
}
