package kube_test

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/isthmus-dns/isthmus/discovery/kube"
	"github.com/isthmus-dns/isthmus/test/kubetest"
)

// replica is a candidate in an election.
type replica struct {
	name  string
	leads chan time.Time // when it began to lead
	ended chan time.Time // when lead's context ended
	hold  chan struct{}  // lead returns when it is closed
	stop  context.CancelFunc
	done  chan error
}

func stand(t *testing.T, name string, access *rest.Config) *replica {
	t.Helper()
	source := newSource(t, access, func(cfg *kube.Config) { cfg.Identity = name })
	ctx, stop := context.WithCancel(context.Background())
	r := &replica{name: name, leads: make(chan time.Time, 10), ended: make(chan time.Time, 10), hold: make(chan struct{}), stop: stop, done: make(chan error, 1)}
	go func() {
		r.done <- source.Elect(ctx, func(ctx context.Context) {
			r.leads <- time.Now()
			<-ctx.Done()
			r.ended <- time.Now()
			<-r.hold
		})
	}()
	t.Cleanup(func() {
		stop()
		r.letGo()
		require.NoError(t, await(t, r.done, "end of Elect"))
	})
	return r
}

func (r *replica) letGo() {
	select {
	case <-r.hold:
	default:
		close(r.hold)
	}
}

func await[T any](t *testing.T, ch <-chan T, what string) (v T) {
	t.Helper()
	select {
	case v = <-ch:
	case <-time.After(patience):
		t.Fatal("no " + what)
	}
	return v
}

func holder(t *testing.T, c *kubetest.Cluster) string {
	t.Helper()
	lease, err := c.Client().CoordinationV1().Leases(namespace).Get(t.Context(), kube.LeaseName, metav1.GetOptions{})
	require.NoError(t, err)
	if lease.Spec.HolderIdentity == nil {
		return ""
	}
	return *lease.Spec.HolderIdentity
}

func TestElection(t *testing.T) {
	c := startCluster(t)

	t.Run("one leads until its lead has returned, then the other at once", func(t *testing.T) {
		a := stand(t, "a", watcher(c))
		await(t, a.leads, "leader")
		b := stand(t, "b", watcher(c))
		a.stop()
		await(t, a.ended, "end of a's term")
		// lead has not returned: the Lease must outlast its own duration.
		renewed := renewTime(t, c)
		eventually(t, func() bool { return renewTime(t, c).Sub(renewed) > 2*time.Second }, "the Lease is renewed while lead winds up")
		require.Equal(t, "a", holder(t, c))
		require.Empty(t, b.leads)
		released := time.Now()
		a.letGo()
		t.Logf("a Lease that was given up was taken after %v", await(t, b.leads, "successor").Sub(released))
	})

	t.Run("a leader that is cut off stands down before the other begins", func(t *testing.T) {
		access, cut := severable(watcher(c))
		a := stand(t, "cut", access)
		a.letGo()
		await(t, a.leads, "leader")
		b := stand(t, "next", watcher(c))
		at := time.Now()
		cut()
		began := await(t, b.leads, "successor")
		ended := await(t, a.ended, "end of the old term")
		t.Logf("stood down after %v, replaced after %v", ended.Sub(at), began.Sub(at))
		t.Logf("a leader that was cut off was replaced after %v", began.Sub(at))
		require.True(t, ended.Before(began), "two led at once for %v", ended.Sub(began))
	})

	t.Run("a lead that returns stands again", func(t *testing.T) {
		source := newSource(t, watcher(c))
		ctx, stop := context.WithCancel(t.Context())
		terms := 0
		require.False(t, source.Holds())
		require.NoError(t, source.Elect(ctx, func(context.Context) {
			require.True(t, source.Holds())
			if terms++; terms == 2 {
				stop()
			}
		}))
		require.Equal(t, 2, terms)
		require.False(t, source.Holds())
	})

	t.Run("a candidate that is stopped never leads", func(t *testing.T) {
		a := stand(t, "first", watcher(c))
		a.letGo()
		await(t, a.leads, "leader")
		b := stand(t, "second", watcher(c))
		b.stop()
		require.NoError(t, await(t, b.done, "end of Elect"))
		b.done <- nil
		require.Empty(t, b.leads)
	})
}

func renewTime(t *testing.T, c *kubetest.Cluster) time.Time {
	t.Helper()
	lease, err := c.Client().CoordinationV1().Leases(namespace).Get(t.Context(), kube.LeaseName, metav1.GetOptions{})
	require.NoError(t, err)
	return lease.Spec.RenewTime.Time
}

// severable makes connections that cut ends, and none after it: to the API
// server and the other replica, this one is as good as killed.
func severable(access *rest.Config) (config *rest.Config, cut func()) {
	var mu sync.Mutex
	var conns []net.Conn
	severed := false
	config = rest.CopyConfig(access)
	config.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		mu.Lock()
		defer mu.Unlock()
		if severed {
			return nil, errors.New("severed")
		}
		conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
		if err == nil {
			conns = append(conns, conn)
		}
		return conn, err
	}
	return config, func() {
		mu.Lock()
		defer mu.Unlock()
		severed = true
		for _, conn := range conns {
			conn.Close()
		}
	}
}
