package transport

import (
	"io"
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/gossip"
	"github.com/isthmus-dns/isthmus/gossip/trust"
)

func TestSpliceLimits(t *testing.T) {
	prod := newAuthority(t, "prod")
	west := start(t, Config{Name: "w0.west", Identity: identity(t, prod, "west", trust.Watcher)})
	for name, limits := range map[string]Limits{
		"in all":       {Splices: 2},
		"by a source":  {SplicesPerSource: 2},
		"both, by far": {Splices: 2, SplicesPerSource: 1000},
	} {
		t.Run(name, func(t *testing.T) {
			east := watchers(t, prod, 2, limits)
			east[0].knows(t, "w1.east")
			to := gossip.Peer{Name: "w1.east", Addr: east[0].Addr().String()}
			var open []net.Conn
			for range 2 {
				c, err := dial(t, west, to)
				require.NoError(t, err)
				defer c.Close()
				open = append(open, c)
			}
			_, err := dial(t, west, to)
			require.ErrorContains(t, err, "refused by w0.east: this is w0.east, not w1.east (too many connections are handed on)")
			require.Equal(t, 1.0, east[0].splices(t, spliceLimit))
			// When one ends, there is room for the next.
			require.NoError(t, open[0].Close())
			require.NoError(t, (<-east[1].Streams()).Close())
			require.Eventually(t, func() bool {
				c, err := dial(t, west, to)
				return err == nil && c.Close() == nil
			}, patience, time.Millisecond)
		})
	}
}

// TestSpliceFlood: far more connections for a sibling than are handed on, from
// clients that never authenticate, and all of it is over when they are.
func TestSpliceFlood(t *testing.T) {
	const bound, many = 40, 120
	east := lone(t, newAuthority(t, "prod"), "w0.east", Limits{Splices: bound, HandshakeTimeout: 20 * time.Second})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	east.place("w1.east", listener.Addr().String())
	before := runtime.NumGoroutine()

	first := clientHello(t, "w1.east.prod", ProtoGossip)
	var clients []net.Conn
	for range many {
		clients = append(clients, spliced(t, east, first))
	}
	var siblings []net.Conn
	for range bound {
		c, err := listener.Accept()
		require.NoError(t, err)
		_, err = c.Write([]byte("x")) // it does not hang
		require.NoError(t, err)
		siblings = append(siblings, c)
	}
	require.Eventually(t, func() bool { return east.splices(t, spliceLimit) == many-bound }, patience, time.Millisecond)
	require.Equal(t, float64(bound), value(t, east.metrics.conns.WithLabelValues("splice")))
	for i, c := range clients {
		if i%2 == 0 {
			require.NoError(t, c.(*net.TCPConn).SetLinger(0)) // it breaks
		}
		require.NoError(t, c.Close())
	}
	for _, c := range siblings {
		require.NoError(t, c.Close())
	}
	require.Eventually(t, func() bool {
		return east.held() == 0 && runtime.NumGoroutine() <= before+1 // this one
	}, patience, 10*time.Millisecond)
	require.Equal(t, float64(bound), east.splices(t, spliceOK))
}

// TestHostileBeginnings: whatever comes first, it is answered by us or not at
// all, and nothing stays open.
func TestHostileBeginnings(t *testing.T) {
	east := watchers(t, newAuthority(t, "prod"), 2, Limits{HandshakeTimeout: time.Second})
	east[0].knows(t, "w1.east")
	whole := clientHello(t, "w1.east.prod", ProtoGossip)
	long := []byte{22, 3, 1, 0x40, 0x00, 1, 0, 0xff, 0xfc} // a ClientHello of 64 KiB, in records of 16
	for len(long) < 70<<10 {
		long = append(long, make([]byte, 5+0x4000-len(long)%(5+0x4000))...)
		long = append(long, 22, 3, 3, 0x40, 0x00)
	}
	all := map[string][]byte{
		"truncated":            whole[:len(whole)-1],
		"only a mark":          []byte(handedOn),
		"half a mark":          []byte(handedOn)[:3],
		"mark upon mark":       []byte(handedOn + handedOn + string(whole)),
		"oversize":             long,
		"no SNI":               clientHello(t, "", ProtoGossip),
		"foreign cluster":      clientHello(t, "w1.west.prod", ProtoGossip),
		"foreign clusterset":   clientHello(t, "w1.east.test", ProtoGossip),
		"ourselves":            clientHello(t, "w0.east.prod", ProtoGossip),
		"the cluster":          clientHello(t, "east.prod", ProtoGossip),
		"the clusterset":       clientHello(t, "prod", ProtoGossip),
		"a label too many":     clientHello(t, "x.w1.east.prod", ProtoGossip),
		"upper case":           clientHello(t, "W1.EAST.PROD", ProtoGossip),
		"odd octets":           clientHello(t, "w1\x00\xff.east.prod", ProtoGossip),
		"empty labels":         clientHello(t, "..east.prod", ProtoGossip),
		"record after garbage": append([]byte{0, 0, 0, 0}, whole...),
	}
	t.Run("all", func(t *testing.T) { // returns when its parallel parts have
		for name, first := range all {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				client := spliced(t, east[0], nil)
				_, _ = client.Write(first) // it may be closed before all has left
				require.NoError(t, client.SetReadDeadline(time.Now().Add(patience)))
				_, _ = io.Copy(io.Discard, client) // to its end
			})
		}
	})
	require.Zero(t, east[0].splices(t, spliceOK))
	require.Eventually(t, func() bool {
		return value(t, east[0].metrics.conns.WithLabelValues("splice")) == 0 && east[0].held() == 0
	}, patience, time.Millisecond)
	require.Less(t, value(t, east[0].metrics.octetsIn), float64(600<<10), "no more is read than is needed")
}
