package transport

import (
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/gossip/trust"
	"github.com/isthmus-dns/isthmus/test/freeport"
)

// relay gives each connection to the next backend, as a load balancer does.
func relay(t *testing.T, backends ...string) (addr string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var all sync.WaitGroup
	var next atomic.Uint32
	all.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer client.Close()
				backend, err := net.Dial("tcp", backends[int(next.Add(1))%len(backends)])
				if err != nil {
					return
				}
				defer backend.Close()
				var back sync.WaitGroup
				back.Go(func() {
					_, _ = io.Copy(client, backend)
					_ = client.Close()
				})
				_, _ = io.Copy(backend, client)
				_ = backend.Close()
				back.Wait()
			})
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		all.Wait() // its backends have stopped
	})
	return listener.Addr().String()
}

// TestPoolsBehindOneAddressEach: three watchers of each of two clusters, whose
// advertised address deals connections out in turn, are six members that reach
// one another.
func TestPoolsBehindOneAddressEach(t *testing.T) {
	prod := newAuthority(t, "prod")
	const each = 3
	addrs := map[string][]string{}
	front := map[string]string{}
	for _, cluster := range []string{"west", "east"} {
		for range each {
			addrs[cluster] = append(addrs[cluster], freeport.Addr(t))
		}
		front[cluster] = relay(t, addrs[cluster]...)
	}
	var all []*member
	var want []string
	for _, cluster := range []string{"west", "east"} {
		for i, addr := range addrs[cluster] {
			name := string(rune('a'+i)) + "." + cluster
			want = append(want, name)
			all = append(all, startMemberAt(t, front[cluster], Config{
				Name: name, Listen: addr, Siblings: addrs[cluster], Identity: identity(t, prod, cluster, trust.Watcher),
			}, append(slices.Clone(addrs[cluster]), front["west"])...))
		}
	}
	slices.Sort(want)
	for _, m := range all {
		require.Eventually(t, func() bool { return slices.Equal(m.names(), want) }, patience, time.Millisecond,
			"%s knows %v", m.cfg.Name, m.names())
	}
	// Each message gets to the member that it is for. The first ones may open
	// connections and be lost with them.
	for _, from := range all {
		for _, to := range all {
			if from == to {
				continue
			}
			require.Eventually(t, func() bool {
				require.NoError(t, from.Send(to.cfg.Name, []byte(from.cfg.Name)))
				for {
					select {
					case got := <-to.messages:
						if got == from.cfg.Name {
							return true
						}
					case <-time.After(time.Second):
						return false
					}
				}
			}, patience, time.Millisecond, "%s to %s", from.cfg.Name, to.cfg.Name)
		}
	}
	handedOn := 0.0
	for _, m := range all {
		handedOn += m.splices(t, spliceOK)
	}
	require.Positive(t, handedOn)
}
