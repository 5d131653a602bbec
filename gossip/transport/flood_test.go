package transport

import (
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/gossip"
	"github.com/isthmus-dns/isthmus/gossip/trust"
)

// drain takes what a transport delivers, as a pool would.
func drain(t *testing.T, r *running) {
	t.Helper()
	go func() {
		for {
			select {
			case <-r.Packets():
			case s := <-r.Streams():
				t.Cleanup(func() { _ = s.Close() })
			case <-t.Context().Done():
				return
			}
		}
	}()
}

// TestAFloodOfPackets: what exceeds a cluster's rate is dropped, under whatever
// names it comes, and when it goes on the cluster is cut off for a while. Other
// clusters notice nothing.
func TestAFloodOfPackets(t *testing.T) {
	east, prod := victim(t, Limits{Rates: Rates{
		Packets: 100, PacketBurst: 200, Excess: 300 * time.Millisecond, BackOff: time.Hour,
	}})
	evil := hostile{id: identity(t, prod, "west", trust.Watcher)}
	var flooding sync.WaitGroup
	for _, name := range []string{"w0.west", "w1.west"} {
		conn, a := evil.hello(t, east.Addr(), kindPackets, name)
		require.Equal(t, codeOK, a.code)
		flooding.Go(func() {
			for frame := appendFrame(nil, []byte("flood")); ; {
				if _, err := conn.Write(frame); err != nil {
					return
				}
			}
		})
	}
	taken := 0
	done := make(chan struct{})
	go func() { flooding.Wait(); close(done) }()
	for open := true; open; {
		select {
		case <-east.Packets():
			taken++
		case <-done:
			open = false
		case <-time.After(patience):
			require.FailNow(t, "the flood goes on")
		}
	}
	require.Positive(t, value(t, east.metrics.dropped.WithLabelValues(droppedRate)))
	require.Eventually(t, func() bool { return east.refusals(t, refusedFlood) == 1 }, patience, time.Millisecond, "one of the connections was too much")
	require.Positive(t, value(t, east.metrics.cut.WithLabelValues(cutFlood)), "and the other had to go with it")

	central := start(t, Config{Name: "w0.central", Identity: identity(t, prod, "central", trust.Watcher)})
	_, err := central.WritePacket([]byte("honest"), east.peer())
	require.NoError(t, err)
	for got := ""; got != "honest"; {
		got = receive(t, east)
	}
	for _, k := range []kind{kindPackets, kindStream} {
		_, a := evil.hello(t, east.Addr(), k, "w2.west")
		require.Equal(t, codeRefused, a.code)
		require.Contains(t, a.reason, "cluster west sent far too much")
	}
	east.refusedFor(t, refusedFlood, 3)
	m := east.meters.of("west")
	m.mu.Lock()
	m.until = time.Now() // the hour is over
	m.mu.Unlock()
	_, a := evil.hello(t, east.Addr(), kindPackets, "w2.west")
	require.Equal(t, codeOK, a.code)
}

// TestAFloodOfSkippedFrames: frames of kinds that are skipped count as well.
func TestAFloodOfSkippedFrames(t *testing.T) {
	east, prod := victim(t, Limits{Rates: Rates{Octets: 1 << 10, OctetBurst: 1, Excess: 200 * time.Millisecond}})
	conn, _ := hostile{id: identity(t, prod, "west", trust.Watcher)}.hello(t, east.Addr(), kindPackets, "w0.west")
	frame := append(binary.BigEndian.AppendUint32(nil, 7<<24|maxFrame), make([]byte, maxFrame)...)
	require.Eventually(t, func() bool {
		_, err := conn.Write(frame)
		return err != nil
	}, patience, time.Millisecond)
	east.refusedFor(t, refusedFlood, 1)
}

// TestStreamsForEver: a cluster that opens streams without end, under ever new
// names, takes its share and no more.
func TestStreamsForEver(t *testing.T) {
	for _, c := range []struct {
		name   string
		limits Limits
		reason string
	}{
		{"at once", Limits{Shares: Shares{Streams: 5}}, refusedShare},
		{"of one member", Limits{StreamsPerPeer: 1}, refusedLimit},
		{"too fast", Limits{Rates: Rates{Streams: 1, StreamBurst: 5}}, refusedRate},
	} {
		t.Run(c.name, func(t *testing.T) {
			east, prod := victim(t, c.limits)
			drain(t, east)
			evil := hostile{id: identity(t, prod, "west", trust.Watcher)}
			in := 0
			for i := 0; east.refusals(t, c.reason) < 10; i++ {
				require.Less(t, i, 10_000)
				_, a := evil.hello(t, east.Addr(), kindStream, fmt.Sprintf("w%d.west", i/3))
				if a.code == codeOK {
					in++
				}
			}
			require.GreaterOrEqual(t, in, 5)
			central := start(t, Config{Name: "w0.central", Identity: identity(t, prod, "central", trust.Watcher)})
			s, err := dial(t, central, east.peer())
			require.NoError(t, err)
			require.NoError(t, s.Close())
		})
	}
}

// TestSharesOfOneCluster bounds what it holds open of the other kinds.
func TestSharesOfOneCluster(t *testing.T) {
	east, prod := victim(t, Limits{Shares: Shares{Packets: 3, GRPC: 3, OwnGRPC: 5}})
	evil := hostile{id: identity(t, prod, "west", trust.Watcher)}
	for i := range 5 {
		_, a := evil.hello(t, east.Addr(), kindPackets, fmt.Sprintf("w%d.west", i))
		require.Equal(t, i < 3, a.code == codeOK, a.reason)
	}
	east.refusedFor(t, refusedShare, 2)

	for range 5 {
		evil.tls(t, east.Addr(), protoGRPC)
	}
	east.refusedFor(t, refusedShare, 4)
	own := hostile{id: identity(t, prod, "east", trust.Agent)}
	for range 5 {
		own.tls(t, east.Addr(), protoGRPC)
	}
	grpc := func() float64 { return value(t, east.metrics.conns.WithLabelValues(kindGRPC)) }
	require.Eventually(t, func() bool { return grpc() == 8 }, patience, time.Millisecond)
	own.tls(t, east.Addr(), protoGRPC)
	east.refusedFor(t, refusedShare, 5)

	// What is closed makes room.
	for range 8 {
		c, err := east.GRPC().Accept()
		require.NoError(t, err)
		require.NoError(t, c.(*tls.Conn).NetConn().Close())
	}
	require.Zero(t, grpc())
	evil.tls(t, east.Addr(), protoGRPC)
	require.Eventually(t, func() bool { return grpc() == 1 }, patience, time.Millisecond)
}

// TestHalfFrames: a frame that does not come whole is not delivered, and whoever
// stops in the middle of one does not hold the connection.
func TestHalfFrames(t *testing.T) {
	east, prod := victim(t, Limits{WriteTimeout: 200 * time.Millisecond})
	evil := hostile{id: identity(t, prod, "west", trust.Watcher)}
	whole := appendFrame(nil, []byte("whole packet"))
	for _, size := range []int{1, frameHeader, len(whole) - 1} {
		conn, _ := evil.hello(t, east.Addr(), kindPackets, "w0.west")
		_, err := conn.Write(whole[:size])
		require.NoError(t, err)
		require.NoError(t, conn.Close())
	}
	slow, _ := evil.hello(t, east.Addr(), kindPackets, "w1.west")
	_, err := slow.Write(whole[:len(whole)-1])
	require.NoError(t, err)
	requireClosed(t, slow)
	east.refusedFor(t, refusedTimeout, 1)
	require.Eventually(t, func() bool {
		return value(t, east.metrics.conns.WithLabelValues(kindPackets.String())) == 0
	}, patience, time.Millisecond)
	require.Empty(t, east.Packets())
}

// TestArrivalsOfOneAddress: a flood from one address is refused before a
// handshake is paid for, and others get in.
func TestArrivalsOfOneAddress(t *testing.T) {
	requireLoopbackNet(t)
	east, prod := victim(t, Limits{Rates: Rates{Arrivals: 1, ArrivalBurst: 20}})
	flood := hostile{from: "127.0.0.2"}
	for range 200 {
		if conn, err := flood.tcp(east.Addr()); err == nil {
			defer conn.Close()
		}
	}
	east.refusedFor(t, refusedRate, 100)
	west := start(t, Config{Name: "w0.west", Identity: identity(t, prod, "west", trust.Watcher)})
	c, err := dial(t, west, east.peer())
	require.NoError(t, err)
	require.NoError(t, c.Close())
}

func TestSources(t *testing.T) {
	for addr, want := range map[string]string{
		"192.0.2.7:1":           "192.0.2.7/32",
		"[::ffff:192.0.2.7]:1":  "192.0.2.7/32",
		"[2001:db8:1:2:3::4]:1": "2001:db8:1:2::/64",
		"[fe80::1%lo]:1":        "fe80::/64",
	} {
		tcp, err := net.ResolveTCPAddr("tcp", addr)
		require.NoError(t, err)
		require.Equal(t, want, netip.Prefix(sourceOf(tcp)).String(), addr)
	}
	require.Zero(t, sourceOf(&net.UnixAddr{}))

	a := newArrivals(Rates{Arrivals: 1, ArrivalBurst: 1})
	for i := range 3 * maxSources {
		require.True(t, a.allow(sourceOf(&net.TCPAddr{IP: net.IPv4(10, byte(i>>16), byte(i>>8), byte(i))})))
		require.LessOrEqual(t, len(a.bySource), maxSources)
	}
	ms := newMeters(DefaultRates(), "east")
	for i := range 2 * maxMeters {
		ms.of(fmt.Sprint(i))
	}
	require.Len(t, ms.byCluster, maxMeters)
}

// requireLoopbackNet skips where 127.0.0.2 is nobody's.
func requireLoopbackNet(t *testing.T) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.2:0")
	if err != nil {
		t.Skip("this system has no 127.0.0.2")
	}
	require.NoError(t, l.Close())
}

// TestTenThousandHalfOpen: they cost bounded memory, and honest peers get in
// all the while.
func TestTenThousandHalfOpen(t *testing.T) {
	requireLoopbackNet(t)
	const all, batch, sources = 10_000, 500, 100
	east, prod := victim(t, Limits{HandshakeTimeout: time.Minute})
	drain(t, east)
	west := start(t, Config{Name: "w0.west", Identity: identity(t, prod, "west", trust.Watcher)})
	before := heap()
	most := before
	var held, held2 []net.Conn
	for i := 0; i < all; i += batch {
		for j := range batch {
			conn, err := hostile{from: fmt.Sprintf("127.0.1.%d", 1+(i+j)%sources)}.tcp(east.Addr())
			require.NoError(t, err)
			if j%2 == 0 {
				_, _ = conn.Write([]byte{22, 3, 1, 0, 200, 1}) // half a client hello
			}
			held = append(held, conn)
		}
		if i%(4*batch) == 0 {
			s, err := dial(t, west, east.peer())
			require.NoError(t, err, "after %d", i)
			require.NoError(t, s.Close())
		}
		most = max(most, heap())
		for _, c := range held2 {
			_ = c.Close()
		}
		held, held2 = held2[:0], held
	}
	for _, c := range append(held, held2...) {
		_ = c.Close()
	}
	require.Eventually(t, func() bool {
		sum := 0.0
		for _, reason := range []string{refusedHalfOpen, refusedTimeout, refusedTLS, refusedLimit, refusedRate} {
			sum += east.refusals(t, reason)
		}
		return sum == all
	}, patience, time.Millisecond, "each of them is counted")
	require.Greater(t, east.refusals(t, refusedHalfOpen), 0.9*(all-2*batch))
	t.Logf("heap and stacks: %d KiB before, %d KiB at most", before>>10, most>>10)
	require.Less(t, most, before+32<<20)
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}

// TestAPeerThatNeverReads: what it opens ends by itself, and who writes to it
// drops and counts.
func TestAPeerThatNeverReads(t *testing.T) {
	east, prod := victim(t, Limits{WriteTimeout: 200 * time.Millisecond, QueuePackets: 8})
	evil := hostile{id: identity(t, prod, "west", trust.Watcher)}
	_, a := evil.hello(t, east.Addr(), kindPackets, "w0.west")
	require.Equal(t, codeOK, a.code)
	packet := make([]byte, gossip.MaxPacket)
	drops := func(reason string) float64 { return value(t, east.metrics.dropped.WithLabelValues(reason)) }
	require.Eventually(t, func() bool {
		_, _ = east.WritePacket(packet, gossip.Peer{Name: "w0.west", Addr: "127.0.0.1:1"})
		return drops(droppedQueue) > 0 && drops(droppedLost) > 0
	}, patience, 100*time.Microsecond)
	require.Eventually(t, func() bool {
		return value(t, east.metrics.conns.WithLabelValues(kindPackets.String())) == 0
	}, patience, time.Millisecond)
}

// TestNamesOfOneClusterTakeOnlyItsOwnLinks: a link outlives its connections,
// and a certificate vouches for any number of names. Whoever takes a new one
// for each connection leaves others their links.
func TestNamesOfOneClusterTakeOnlyItsOwnLinks(t *testing.T) {
	east, prod := victim(t, Limits{})
	evil := hostile{id: identity(t, prod, "west", trust.Watcher)}
	links := func() int {
		east.mu.Lock()
		defer east.mu.Unlock()
		return len(east.links)
	}
	for i := range maxLinks + 10 {
		c, a := evil.hello(t, east.Addr(), kindPackets, fmt.Sprintf("w%d.west", i))
		require.Equal(t, codeOK, a.code, a.reason)
		want := min(i+1, maxLinks)
		require.Eventually(t, func() bool { return links() == want }, patience, time.Millisecond)
		require.NoError(t, c.NetConn().Close())
		require.Eventually(t, func() bool { return value(t, east.metrics.conns.WithLabelValues("packets")) == 0 }, patience, time.Millisecond)
	}
	east.refusedFor(t, refusedLimit, 10)
	honest := hostile{id: identity(t, prod, "north", trust.Watcher)}
	_, a := honest.hello(t, east.Addr(), kindPackets, "w0.north")
	require.Equal(t, codeOK, a.code, a.reason)
	require.Eventually(t, func() bool { return links() == maxLinks+1 }, patience, time.Millisecond)
}

// TestLinksThatRetireMakeRoom: the count of a cluster's links goes with them.
func TestLinksThatRetireMakeRoom(t *testing.T) {
	east, prod := victim(t, Limits{IdleTimeout: 10 * time.Millisecond})
	west := hostile{id: identity(t, prod, "west", trust.Watcher)}
	c, _ := west.hello(t, east.Addr(), kindPackets, "w0.west")
	require.NoError(t, c.NetConn().Close())
	require.Eventually(t, func() bool {
		east.mu.Lock()
		defer east.mu.Unlock()
		return len(east.links) == 0 && len(east.linksOf) == 0
	}, patience, time.Millisecond)
}
