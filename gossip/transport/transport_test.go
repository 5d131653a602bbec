package transport

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/gossip"
	"github.com/isthmus-dns/isthmus/gossip/trust"
)

func TestPacketsBothWaysOnOneConnection(t *testing.T) {
	west, east := pair(t, Limits{})
	for i := range 100 {
		_, err := west.WritePacket(fmt.Appendf(nil, "packet %d", i), east.peer())
		require.NoError(t, err)
	}
	for i := range 100 {
		require.Equal(t, fmt.Sprintf("packet %d", i), receive(t, east))
	}
	// East answers on the connection that west opened: nobody listens where
	// it would have to dial.
	_, err := east.WritePacket([]byte("answer"), gossip.Peer{Name: "w0.west", Addr: "127.0.0.1:1"})
	require.NoError(t, err)
	require.Equal(t, "answer", receive(t, west))
	require.Equal(t, 1.0, value(t, east.metrics.conns.WithLabelValues("packets")))
	require.Equal(t, 1.0, value(t, west.metrics.conns.WithLabelValues("packets")))
}

func TestLargestPacket(t *testing.T) {
	west, east := pair(t, Limits{})
	largest := strings.Repeat("x", gossip.MaxPacket)
	_, err := west.WritePacket([]byte(largest), east.peer())
	require.NoError(t, err)
	require.Equal(t, largest, receive(t, east))
	_, err = west.WritePacket([]byte(largest+"x"), east.peer())
	require.Error(t, err)
	_, err = west.WritePacket(nil, east.peer())
	require.Error(t, err)
	_, err = west.WritePacket([]byte("x"), gossip.Peer{Addr: east.peer().Addr})
	require.ErrorIs(t, err, gossip.ErrName)
}

func TestStreams(t *testing.T) {
	west, east := pair(t, Limits{})
	for _, to := range []gossip.Peer{east.peer(), {Addr: east.Addr().String()}} {
		here, err := dial(t, west, to)
		require.NoError(t, err)
		there := <-east.Streams()
		_, err = here.Write([]byte("question"))
		require.NoError(t, err)
		buf := make([]byte, 8)
		_, err = io.ReadFull(there, buf)
		require.NoError(t, err)
		require.Equal(t, "question", string(buf))
		require.NoError(t, there.Close())
		requireClosed(t, here)
		require.NoError(t, here.Close())
	}
	require.Zero(t, value(t, east.metrics.conns.WithLabelValues("stream")))
	require.Empty(t, east.incoming)
}

func TestStreamDoesNotOutliveItsLife(t *testing.T) {
	west, east := pair(t, Limits{StreamLife: 200 * time.Millisecond})
	here, err := dial(t, west, east.peer())
	require.NoError(t, err)
	defer here.Close()
	there := <-east.Streams()
	defer there.Close()
	require.NoError(t, there.SetDeadline(time.Now().Add(time.Hour)))
	begun := time.Now()
	_, err = there.Read(make([]byte, 1))
	require.Error(t, err)
	require.Less(t, time.Since(begun), patience)
}

func TestStreamLimits(t *testing.T) {
	west, east := pair(t, Limits{StreamsPerPeer: 2})
	for range 2 {
		c, err := dial(t, west, east.peer())
		require.NoError(t, err)
		defer c.Close()
	}
	_, err := dial(t, west, east.peer())
	require.ErrorContains(t, err, "refused by w0.east: too many streams")
	require.NoError(t, (<-east.Streams()).Close())
	c, err := dial(t, west, east.peer())
	require.NoError(t, err)
	require.NoError(t, c.Close())
}

func TestDialRefused(t *testing.T) {
	prod, other := newAuthority(t, "prod"), newAuthority(t, "prod")
	east := start(t, Config{Name: "w0.east", Identity: identity(t, prod, "east", trust.Watcher)})
	for _, c := range []struct {
		name   string
		dialer Config
		to     string // member name
		want   []string
		reason string // on the server
	}{
		{
			name:   "the dialer does not know the server's root",
			dialer: Config{Name: "w0.west", Identity: identity(t, other, "west", trust.Watcher)},
			want:   []string{"spiffe://prod/cluster/east/watcher", "issued by \"" + root(t, prod), "\"" + root(t, other)},
			reason: refusedTLS,
		},
		{
			name:   "the server does not know the dialer's root",
			dialer: Config{Name: "w0.west", Identity: identity(t, other, "west", trust.Watcher, prod)},
			want:   []string{"peer refused our certificate", root(t, prod), root(t, other)},
			reason: string(trust.ReasonWrongRoot),
		},
		{
			name:   "another member wanted",
			dialer: Config{Name: "w0.west", Identity: identity(t, prod, "west", trust.Watcher)},
			to:     "w1.east",
			want:   []string{"refused by w0.east", "this is w0.east, not w1.east"},
			reason: refusedMember,
		},
		{
			name:   "another cluster wanted",
			dialer: Config{Name: "w0.west", Identity: identity(t, prod, "west", trust.Watcher)},
			to:     "w0.central",
			want:   []string{"want cluster central, got spiffe://prod/cluster/east/watcher"},
			reason: refusedTLS,
		},
		{
			name:   "a namesake",
			dialer: Config{Name: "w0.east", Identity: identity(t, prod, "east", trust.Watcher)},
			want:   []string{"another process has the same member name, w0.east"},
			reason: refusedMember,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := east.refusals(t, c.reason)
			west := start(t, c.dialer)
			_, err := dial(t, west, gossip.Peer{Name: c.to, Addr: east.Addr().String()})
			require.Error(t, err)
			for _, want := range c.want {
				require.ErrorContains(t, err, want)
			}
			require.Eventually(t, func() bool { return east.refusals(t, c.reason) == before+1 }, patience, time.Millisecond)
		})
	}
	// The server's log names the issuer it was shown and those it trusts.
	require.Contains(t, east.logs.String(), root(t, other))
	require.Contains(t, east.logs.String(), root(t, prod))
}

// root is the common name of an authority.
func root(t *testing.T, a *trust.Authority) string {
	t.Helper()
	c := identity(t, a, "any", trust.Watcher).Client(nil, "")
	own, err := c.GetClientCertificate(nil)
	require.NoError(t, err)
	return own.Leaf.Issuer.String()
}

// TestHelloRefused speaks the protocol by hand, as a peer that lies would.
func TestHelloRefused(t *testing.T) {
	prod := newAuthority(t, "prod")
	east := start(t, Config{Name: "w0.east", Identity: identity(t, prod, "east", trust.Watcher)})
	west := identity(t, prod, "west", trust.Watcher)
	for _, c := range []struct {
		name   string
		id     *trust.Identity
		hello  []byte
		want   string
		reason string
	}{
		{
			"name of another cluster", west, hello{kind: kindPackets, from: "w0.central"}.encode(),
			"certificate names cluster west, member name w0.central says central", refusedName,
		},
		{
			"agent", identity(t, prod, "west", trust.Agent), hello{kind: kindPackets, from: "w0.west"}.encode(),
			"only watchers gossip", refusedRole,
		},
		{"no member name", west, hello{kind: kindPackets, from: "west"}.encode(), "malformed", refusedHello},
		{"unknown kind", west, hello{kind: 9, from: "w0.west"}.encode(), "unknown kind 9", refusedHello},
		{"something else", west, []byte("GET / HTTP/1.1\r\nHost: east\r\n\r\n"), "does not begin", refusedHello},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := east.refusals(t, c.reason)
			conn, err := tls.Dial("tcp", east.Addr().String(), c.id.Client(nil, "", ProtoGossip))
			require.NoError(t, err)
			defer conn.Close()
			_, err = conn.Write(c.hello)
			require.NoError(t, err)
			a, err := readAnswer(conn)
			require.NoError(t, err)
			require.Equal(t, codeRefused, a.code)
			require.Equal(t, "w0.east", a.name)
			require.Contains(t, a.reason, c.want)
			requireClosed(t, conn)
			require.Eventually(t, func() bool { return east.refusals(t, c.reason) == before+1 }, patience, time.Millisecond)
		})
	}
}

func TestNoCertificate(t *testing.T) {
	_, east := pair(t, Limits{})
	conn, err := tls.Dial("tcp", east.Addr().String(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{ProtoGossip}})
	require.NoError(t, err) // TLS 1.3: the server looks later
	defer conn.Close()
	requireClosed(t, conn)
	require.Eventually(t, func() bool {
		return east.refusals(t, string(trust.ReasonNoCertificate)) == 1
	}, patience, time.Millisecond)
}

func TestNoProtocol(t *testing.T) {
	prod := newAuthority(t, "prod")
	east := start(t, Config{Name: "w0.east", Identity: identity(t, prod, "east", trust.Watcher)})
	conn, err := tls.Dial("tcp", east.Addr().String(), identity(t, prod, "west", trust.Watcher).Client(nil, ""))
	require.NoError(t, err)
	defer conn.Close()
	requireClosed(t, conn)
	require.Eventually(t, func() bool { return east.refusals(t, refusedProtocol) == 1 }, patience, time.Millisecond)
}

func TestDialSelf(t *testing.T) {
	west, _ := pair(t, Limits{})
	_, err := dial(t, west, gossip.Peer{Addr: west.Addr().String()})
	require.ErrorIs(t, err, gossip.ErrSelf)
}

func TestDialEndsWithItsContext(t *testing.T) {
	west, _ := pair(t, Limits{})
	mute, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and says nothing
	require.NoError(t, err)
	defer mute.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	_, err = west.Dial(ctx, gossip.Peer{Addr: mute.Addr().String()})
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

func TestPeerRestarts(t *testing.T) {
	prod := newAuthority(t, "prod")
	west := start(t, Config{Name: "w0.west", Identity: identity(t, prod, "west", trust.Watcher)})
	cfg := Config{Name: "w0.east", Identity: identity(t, prod, "east", trust.Watcher)}
	east := start(t, cfg)
	peer := east.peer()
	_, err := west.WritePacket([]byte("before"), peer)
	require.NoError(t, err)
	require.Equal(t, "before", receive(t, east))
	east.stop()
	cfg.Listen = peer.Addr
	east = start(t, cfg)
	// Nobody writes: the connection comes back by itself, because the peer
	// was in use a moment ago.
	require.Eventually(t, func() bool {
		return value(t, east.metrics.conns.WithLabelValues("packets")) == 1
	}, patience, time.Millisecond)
	_, err = west.WritePacket([]byte("after"), peer)
	require.NoError(t, err)
	require.Equal(t, "after", receive(t, east))
}

func TestUnreachablePeerNeverBlocks(t *testing.T) {
	west, _ := pair(t, Limits{})
	begun := time.Now()
	nobody := gossip.Peer{Name: "w0.nowhere", Addr: "127.0.0.1:1"}
	drops := func() float64 { return value(t, west.metrics.dropped.WithLabelValues(droppedUnreachable)) }
	require.Eventually(t, func() bool {
		_, _ = west.WritePacket([]byte("x"), nobody)
		return drops() >= 10
	}, patience, time.Millisecond)
	require.Less(t, time.Since(begun), patience)
	require.Equal(t, 1, strings.Count(west.logs.String(), "peer not reached"))
}

func TestPeerThatDoesNotReadFillsItsQueueOnly(t *testing.T) {
	limits := Limits{QueuePackets: 8, WriteTimeout: 200 * time.Millisecond}
	west, east := pair(t, limits)
	packet := make([]byte, gossip.MaxPacket)
	drops := func(reason string) float64 { return value(t, west.metrics.dropped.WithLabelValues(reason)) }
	require.Eventually(t, func() bool {
		_, _ = west.WritePacket(packet, east.peer()) // nobody takes east's packets
		return drops(droppedQueue) > 0 && drops(droppedLost) > 0
	}, patience, 100*time.Microsecond)
}

func TestBusyPort(t *testing.T) {
	west, _ := pair(t, Limits{})
	_, err := Listen(Config{Listen: west.Addr().String(), Name: "w0.west", Identity: west.cfg.Identity})
	require.ErrorContains(t, err, west.Addr().String()+" is in use")
	require.ErrorContains(t, err, "gossip.listen")
}

func TestConfigIsValidated(t *testing.T) {
	prod := newAuthority(t, "prod")
	watcher := identity(t, prod, "west", trust.Watcher)
	for name, c := range map[string]Config{
		"no identity":   {Name: "w0.west"},
		"no name":       {Identity: watcher},
		"other cluster": {Name: "w0.east", Identity: watcher},
		"agent":         {Name: "w0.west", Identity: identity(t, prod, "west", trust.Agent)},
	} {
		t.Run(name, func(t *testing.T) { require.Error(t, c.Validate()) })
	}
	c := Config{Name: "w0.west", Identity: watcher}
	require.NoError(t, c.Validate())
}

func TestInsecure(t *testing.T) {
	insecure := func(cluster string) *trust.Identity {
		id, err := trust.Insecure(trust.ID{Clusterset: "prod", Cluster: cluster, Role: trust.Watcher})
		require.NoError(t, err)
		return id
	}
	west := start(t, Config{Name: "w0.west", Identity: insecure("west")})
	east := start(t, Config{Name: "w0.east", Identity: insecure("east")})
	_, err := west.WritePacket([]byte("hello"), east.peer())
	require.NoError(t, err)
	require.Equal(t, "hello", receive(t, east))

	const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	client, err := net.Dial("tcp", east.Addr().String())
	require.NoError(t, err)
	defer client.Close()
	_, err = io.WriteString(client, preface)
	require.NoError(t, err)
	server, err := east.GRPC().Accept()
	require.NoError(t, err)
	defer server.Close()
	got := make([]byte, len(preface))
	_, err = io.ReadFull(server, got)
	require.NoError(t, err)
	require.Equal(t, preface, string(got))

	stranger, err := net.Dial("tcp", east.Addr().String())
	require.NoError(t, err)
	defer stranger.Close()
	_, err = io.WriteString(stranger, "GET / HTTP/1.1\r\n\r\n")
	require.NoError(t, err)
	requireClosed(t, stranger)
	require.Eventually(t, func() bool { return east.refusals(t, refusedProtocol) == 1 }, patience, time.Millisecond)
}

func TestGRPCConnections(t *testing.T) {
	prod := newAuthority(t, "prod")
	east := start(t, Config{Name: "w0.east", Identity: identity(t, prod, "east", trust.Watcher)})
	agent := identity(t, prod, "east", trust.Agent)
	client, err := tls.Dial("tcp", east.Addr().String(), agent.Client(nil, "", "h2"))
	require.NoError(t, err)
	defer client.Close()
	server, err := east.GRPC().Accept()
	require.NoError(t, err)
	defer server.Close()
	id, err := trust.PeerID(server.(*tls.Conn).ConnectionState())
	require.NoError(t, err)
	require.Equal(t, agent.ID(), id)

	// The end of the transport is not the end of the server's connections.
	east.stop()
	_, err = east.GRPC().Accept()
	require.ErrorIs(t, err, net.ErrClosed)
	_, err = client.Write([]byte("still here"))
	require.NoError(t, err)
	buf := make([]byte, 10)
	_, err = io.ReadFull(server, buf)
	require.NoError(t, err)
	require.Equal(t, "still here", string(buf))
}
