package transport

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/gossip"
	"github.com/isthmus-dns/isthmus/gossip/trust"
)

// introduced is a packet connection of a peer that then does as it likes.
func introduced(t *testing.T, to *running, id *trust.Identity, name string) net.Conn {
	t.Helper()
	conn, err := tls.Dial("tcp", to.Addr().String(), id.Client(nil, "", ProtoGossip))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	_, err = conn.Write(hello{kind: kindPackets, from: name}.encode())
	require.NoError(t, err)
	a, err := readAnswer(conn)
	require.NoError(t, err)
	require.Equal(t, codeOK, a.code)
	return conn
}

func TestFramesRefused(t *testing.T) {
	prod := newAuthority(t, "prod")
	east := start(t, Config{Name: "w0.east", Identity: identity(t, prod, "east", trust.Watcher)})
	west := identity(t, prod, "west", trust.Watcher)
	for name, head := range map[string]uint32{
		"packet too large": gossip.MaxPacket + 1,
		"frame too large":  7<<24 | maxFrame + 1,
		"longest":          1<<32 - 1,
		"empty packet":     0,
	} {
		t.Run(name, func(t *testing.T) {
			before := east.refusals(t, refusedFrame)
			conn := introduced(t, east, west, "w0.west")
			_, err := conn.Write(binary.BigEndian.AppendUint32(nil, head))
			require.NoError(t, err)
			requireClosed(t, conn)
			require.Eventually(t, func() bool { return east.refusals(t, refusedFrame) == before+1 }, patience, time.Millisecond)
		})
	}
}

func TestFramesOfUnknownKindsAreSkipped(t *testing.T) {
	prod := newAuthority(t, "prod")
	east := start(t, Config{Name: "w0.east", Identity: identity(t, prod, "east", trust.Watcher)})
	conn := introduced(t, east, identity(t, prod, "west", trust.Watcher), "w0.west")
	b := binary.BigEndian.AppendUint32(nil, 7<<24|maxFrame)
	b = append(b, make([]byte, maxFrame)...)
	_, err := conn.Write(appendFrame(b, []byte("known")))
	require.NoError(t, err)
	require.Equal(t, "known", receive(t, east))
}

func TestSlowHandshakeEnds(t *testing.T) {
	_, east := pair(t, Limits{HandshakeTimeout: time.Second})
	for name, first := range map[string][]byte{
		"silence":        nil,
		"half a record":  {22, 3, 1, 0, 200, 1},
		"one octet":      {22},
		"not TLS at all": []byte("GET / HTTP/1.1\r\n"),
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("tcp", east.Addr().String())
			require.NoError(t, err)
			defer conn.Close()
			_, err = conn.Write(first)
			require.NoError(t, err)
			requireClosed(t, conn)
		})
	}
	east.refusedFor(t, refusedTimeout, 3)
	east.refusedFor(t, refusedTLS, 1)
}

func TestSlowHelloEnds(t *testing.T) {
	prod := newAuthority(t, "prod")
	east := start(t, Config{
		Name: "w0.east", Identity: identity(t, prod, "east", trust.Watcher),
		Limits: Limits{HandshakeTimeout: 200 * time.Millisecond},
	})
	conn, err := tls.Dial("tcp", east.Addr().String(), identity(t, prod, "west", trust.Watcher).Client(nil, "", ProtoGossip))
	require.NoError(t, err)
	defer conn.Close()
	_, err = conn.Write([]byte(magic))
	require.NoError(t, err)
	requireClosed(t, conn)
	east.refusedFor(t, refusedTimeout, 1)
}

func TestHalfOpenLimitDropsTheOldest(t *testing.T) {
	west, east := pair(t, Limits{Handshakes: 4, HandshakeTimeout: time.Minute})
	var lingering []net.Conn
	for range 4 {
		conn, err := net.Dial("tcp", east.Addr().String())
		require.NoError(t, err)
		defer conn.Close()
		lingering = append(lingering, conn)
	}
	require.Eventually(t, func() bool {
		east.halfOpen.mu.Lock()
		defer east.halfOpen.mu.Unlock()
		return east.halfOpen.conns.Len() == 4
	}, patience, time.Millisecond)
	// An honest peer gets in, at the cost of one that lingers.
	c, err := dial(t, west, east.peer())
	require.NoError(t, err)
	require.NoError(t, c.Close())
	require.Eventually(t, func() bool { return east.refusals(t, refusedHalfOpen) == 1 }, patience, time.Millisecond)
	closed := 0
	for _, l := range lingering {
		require.NoError(t, l.SetReadDeadline(time.Now().Add(100*time.Millisecond)))
		_, err := l.Read(make([]byte, 1))
		if ne := net.Error(nil); !errors.As(err, &ne) || !ne.Timeout() {
			closed++
		}
	}
	require.Equal(t, 1, closed)
}

func TestConnectionLimit(t *testing.T) {
	_, east := pair(t, Limits{Conns: 2})
	for range 2 {
		conn, err := net.Dial("tcp", east.Addr().String())
		require.NoError(t, err)
		defer conn.Close()
	}
	require.Eventually(t, func() bool {
		conn, err := net.Dial("tcp", east.Addr().String())
		require.NoError(t, err)
		defer conn.Close()
		requireClosed(t, conn)
		return east.refusals(t, refusedLimit) > 0
	}, patience, time.Millisecond)
}

func TestPacketConnectionsPerPeer(t *testing.T) {
	prod := newAuthority(t, "prod")
	east := start(t, Config{
		Name: "w0.east", Identity: identity(t, prod, "east", trust.Watcher),
		Limits: Limits{PacketConnsPerPeer: 2},
	})
	west := identity(t, prod, "west", trust.Watcher)
	// What arrives on a connection says that it has its place among the others.
	used := func(text string) net.Conn {
		conn := introduced(t, east, west, "w0.west")
		_, err := conn.Write(appendFrame(nil, []byte(text)))
		require.NoError(t, err)
		require.Equal(t, text, receive(t, east))
		return conn
	}
	first := used("first")
	_ = used("second")
	_ = used("newest")
	requireClosed(t, first)
	require.Equal(t, 1.0, value(t, east.metrics.cut.WithLabelValues(cutOldest)))
}

func TestIdleConnectionsClose(t *testing.T) {
	west, east := pair(t, Limits{IdleTimeout: 200 * time.Millisecond})
	_, err := west.WritePacket([]byte("x"), east.peer())
	require.NoError(t, err)
	require.Equal(t, "x", receive(t, east))
	require.Eventually(t, func() bool {
		return value(t, east.metrics.conns.WithLabelValues("packets")) == 0
	}, patience, time.Millisecond)
}

func TestRunEndsWhatIsOpen(t *testing.T) {
	prod := newAuthority(t, "prod")
	east := start(t, Config{Name: "w0.east", Identity: identity(t, prod, "east", trust.Watcher)})
	west := identity(t, prod, "west", trust.Watcher)
	packets := introduced(t, east, west, "w0.west")
	silent, err := net.Dial("tcp", east.Addr().String())
	require.NoError(t, err)
	defer silent.Close()
	_, err = east.WritePacket([]byte("x"), gossip.Peer{Name: "w0.nowhere", Addr: "127.0.0.1:1"})
	require.NoError(t, err)
	east.stop()
	requireClosed(t, packets)
	requireClosed(t, silent)
	require.Empty(t, east.open)
	_, err = east.WritePacket([]byte("x"), gossip.Peer{Name: "w0.west", Addr: "127.0.0.1:1"})
	require.ErrorIs(t, err, errNotRunning)
}

// TestAPeerThatHangsUpIsNotDialedAllTheTime: one that lets us in and closes at
// once costs a handshake each time, and must not have one after the other.
func TestAPeerThatHangsUpIsNotDialedAllTheTime(t *testing.T) {
	prod := newAuthority(t, "prod")
	west := start(t, Config{Name: "w0.west", Identity: identity(t, prod, "west", trust.Watcher)})
	east := identity(t, prod, "east", trust.Watcher)
	l, err := tls.Listen("tcp", "127.0.0.1:0", east.Server(nil, ProtoGossip))
	require.NoError(t, err)
	defer l.Close()
	var accepted atomic.Int32
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			if _, err := readHello(conn); err == nil {
				accepted.Add(1)
				_, _ = conn.Write(answer{name: "w0.east"}.encode())
			}
			_ = conn.Close()
		}
	}()
	_, err = west.WritePacket([]byte("x"), gossip.Peer{Name: "w0.east", Addr: l.Addr().String()})
	require.NoError(t, err)
	require.Eventually(t, func() bool { return accepted.Load() >= 2 }, patience, time.Millisecond, "it is tried again")
	require.Never(t, func() bool { return accepted.Load() > 8 }, 2*time.Second, 10*time.Millisecond)
	require.Eventually(t, func() bool {
		return value(t, west.metrics.conns.WithLabelValues("packets")) == 0
	}, patience, time.Millisecond, "no closed connection is kept")
}
