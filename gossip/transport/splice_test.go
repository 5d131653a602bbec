package transport

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/gossip"
	"github.com/isthmus-dns/isthmus/gossip/trust"
	"github.com/isthmus-dns/isthmus/test/freeport"
)

// watchers starts n watchers of cluster east that know of each other, w0 first.
func watchers(t testing.TB, prod *trust.Authority, n int, limits Limits) []*running {
	t.Helper()
	var addrs []string
	for range n {
		addrs = append(addrs, freeport.Addr(t))
	}
	all := make([]*running, n)
	for i := n - 1; i >= 0; i-- { // so that the first finds the others at its first look
		all[i] = start(t, Config{
			Listen: addrs[i], Name: fmt.Sprintf("w%d.east", i), Siblings: addrs, Limits: limits,
			Identity: identity(t, prod, "east", trust.Watcher),
		})
	}
	return all
}

// knows waits until a watcher knows where a sibling is.
func (r *running) knows(t testing.TB, sibling string) {
	t.Helper()
	require.Eventually(t, func() bool { return r.Sibling(sibling) != "" }, patience, time.Millisecond, "%s", r.logs)
}

func (r *running) splices(t testing.TB, result string) float64 {
	return value(t, r.metrics.splices.WithLabelValues(result))
}

// open is the number of connections that a transport holds.
func (r *running) held() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.open) + r.inSplice + len(r.splicesBy)
}

// lone starts a watcher of cluster east that looks for nobody, for tests that
// place its siblings.
func lone(t testing.TB, prod *trust.Authority, name string, limits Limits) *running {
	t.Helper()
	return start(t, Config{Name: name, Limits: limits, Identity: identity(t, prod, "east", trust.Watcher)})
}

// place makes it believe that a sibling is at an address.
func (r *running) place(name, addr string) {
	r.siblings.mu.Lock()
	defer r.siblings.mu.Unlock()
	r.siblings.known[netip.MustParseAddrPort(addr)] = sibling{name: name, at: time.Now()}
}

func TestOneAddressForSeveralWatchers(t *testing.T) {
	prod := newAuthority(t, "prod")
	east := watchers(t, prod, 2, Limits{})
	east[0].knows(t, "w1.east")
	west := start(t, Config{Name: "w0.west", Identity: identity(t, prod, "west", trust.Watcher)})
	wanted := gossip.Peer{Name: "w1.east", Addr: east[0].Addr().String()}

	t.Run("packets both ways", func(t *testing.T) {
		_, err := west.WritePacket([]byte("question"), wanted)
		require.NoError(t, err)
		require.Equal(t, "question", receive(t, east[1]))
		_, err = east[1].WritePacket([]byte("answer"), gossip.Peer{Name: "w0.west", Addr: "127.0.0.1:1"})
		require.NoError(t, err)
		require.Equal(t, "answer", receive(t, west))
		require.Equal(t, 1.0, value(t, east[0].metrics.conns.WithLabelValues("splice")))
		require.Zero(t, value(t, east[0].metrics.conns.WithLabelValues("packets")))
	})
	t.Run("stream", func(t *testing.T) {
		here, err := dial(t, west, wanted)
		require.NoError(t, err)
		there := <-east[1].Streams()
		// More than any buffer on the way, in both directions at once.
		const octets = 5 << 20
		go func() {
			_, _ = io.Copy(there, io.LimitReader(there, octets))
			_ = there.Close()
		}()
		go func() { _, _ = here.Write(make([]byte, octets)) }()
		n, err := io.Copy(io.Discard, here)
		require.NoError(t, err)
		require.EqualValues(t, octets, n)
		require.NoError(t, here.Close())
	})
	t.Run("gRPC", func(t *testing.T) {
		client, err := tls.Dial("tcp", wanted.Addr, identity(t, prod, "west", trust.Watcher).Client(nil, "w1.east.prod", protoGRPC))
		require.NoError(t, err)
		defer client.Close()
		server, err := east[1].GRPC().Accept()
		require.NoError(t, err)
		defer server.Close()
		_, err = client.Write([]byte("hello"))
		require.NoError(t, err)
		buf := make([]byte, 5)
		_, err = io.ReadFull(server, buf)
		require.NoError(t, err)
		require.Equal(t, "hello", string(buf))
	})
	require.Equal(t, 3.0, east[0].splices(t, spliceOK))
	require.Greater(t, value(t, east[0].metrics.spliced.WithLabelValues("to_sibling")), 5e6)
	require.Greater(t, value(t, east[0].metrics.spliced.WithLabelValues("from_sibling")), 5e6)
	require.NotContains(t, east[0].logs.String()+east[1].logs.String(), "connection refused\" from")

	// The end of a splicing watcher is the end of what it splices.
	east[0].stop()
	require.Empty(t, east[0].open)
	require.Empty(t, east[0].splicesBy)
	require.Eventually(t, func() bool {
		return value(t, east[1].metrics.conns.WithLabelValues("packets")) == 0
	}, patience, time.Millisecond)
}

// TestSiblingsDialEachOtherDirectly: their advertised address may be a load
// balancer's that does not let them in.
func TestSiblingsDialEachOtherDirectly(t *testing.T) {
	east := watchers(t, newAuthority(t, "prod"), 2, Limits{})
	east[0].knows(t, "w1.east")
	_, err := east[0].WritePacket([]byte("x"), gossip.Peer{Name: "w1.east", Addr: "127.0.0.1:1"})
	require.NoError(t, err)
	require.Equal(t, "x", receive(t, east[1]))
	// One that went elsewhere is found by its advertised address again.
	moved := east[1].Addr().String()
	east[1].stop()
	stranger, err := net.Listen("tcp", moved)
	require.NoError(t, err)
	defer stranger.Close()
	go func() {
		for {
			c, err := stranger.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
		}
	}()
	again := start(t, Config{Name: "w1.east", Identity: east[1].cfg.Identity})
	require.Eventually(t, func() bool {
		c, err := dial(t, east[0], again.peer())
		return err == nil && c.Close() == nil
	}, patience, 10*time.Millisecond)
}

func TestConnectionForAnotherThatStaysHere(t *testing.T) {
	prod := newAuthority(t, "prod")
	limits := Limits{HandshakeTimeout: 2 * time.Second}
	west := start(t, Config{Name: "w0.west", Identity: identity(t, prod, "west", trust.Watcher)})
	to := func(r *running, name string) gossip.Peer { return gossip.Peer{Name: name, Addr: r.Addr().String()} }

	t.Run("unknown", func(t *testing.T) {
		east := watchers(t, prod, 2, limits)
		_, err := dial(t, west, to(east[0], "w7.east"))
		require.ErrorContains(t, err, "refused by w0.east: this is w0.east, not w7.east (no sibling of that name is known)")
		require.Equal(t, 1.0, east[0].splices(t, spliceUnknown))
		require.Eventually(t, func() bool { return east[0].refusals(t, refusedMember) == 1 }, patience, time.Millisecond)
	})
	t.Run("without siblings", func(t *testing.T) {
		east := start(t, Config{Name: "w0.east", Identity: identity(t, prod, "east", trust.Watcher)})
		_, err := dial(t, west, to(east, "w1.east"))
		require.ErrorContains(t, err, "this is w0.east, not w1.east")
	})
	t.Run("down", func(t *testing.T) {
		east := lone(t, prod, "w0.east", limits)
		down := freeport.Addr(t)
		east.place("w1.east", down)
		_, err := dial(t, west, to(east, "w1.east"))
		require.ErrorContains(t, err, "this is w0.east, not w1.east (sibling at "+down+": ")
		require.ErrorContains(t, err, "refused")
		require.Equal(t, 1.0, east.splices(t, spliceFailed))
		require.Empty(t, east.Sibling("w1.east"), "it is asked anew")
	})
	t.Run("handed on in error", func(t *testing.T) {
		east := []*running{lone(t, prod, "w0.east", limits), lone(t, prod, "w1.east", limits)}
		// Each thinks that the third is at the other's.
		east[0].place("w2.east", east[1].Addr().String())
		east[1].place("w2.east", east[0].Addr().String())
		_, err := dial(t, west, to(east[0], "w2.east"))
		require.ErrorContains(t, err, "refused by w1.east: this is w1.east, not w2.east (a sibling has handed the connection on)")
		require.Equal(t, 1.0, east[0].splices(t, spliceOK))
		require.Equal(t, 1.0, east[1].splices(t, spliceAgain))
		require.Zero(t, east[1].splices(t, spliceOK))
	})
	t.Run("gRPC is served by whom it reaches", func(t *testing.T) {
		east := watchers(t, prod, 2, limits)
		client, err := tls.Dial("tcp", east[0].Addr().String(), identity(t, prod, "west", trust.Watcher).Client(nil, "w7.east.prod", protoGRPC))
		require.NoError(t, err)
		defer client.Close()
		server, err := east[0].GRPC().Accept()
		require.NoError(t, err)
		server.Close()
	})
}

// TestSiblingThatHangs: it accepts, and says nothing.
func TestSiblingThatHangs(t *testing.T) {
	prod := newAuthority(t, "prod")
	east := lone(t, prod, "w0.east", Limits{HandshakeTimeout: time.Second, IdleTimeout: time.Hour})
	mute, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer mute.Close()
	east.place("w1.east", mute.Addr().String())
	client := spliced(t, east, clientHello(t, "w1.east.prod", ProtoGossip))
	requireClosed(t, client)
	require.Eventually(t, func() bool { return east.held() == 0 }, patience, time.Millisecond)
}

// spliced opens a connection and sends its first octets.
func spliced(t testing.TB, to *running, first []byte) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", to.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	_, err = conn.Write(first)
	require.NoError(t, err)
	return conn.(*net.TCPConn)
}

// clientHello is what a client of crypto/tls sends first.
func clientHello(t testing.TB, serverName string, protos ...string) []byte {
	t.Helper()
	here, there := net.Pipe()
	defer here.Close()
	defer there.Close()
	go func() {
		_ = tls.Client(there, &tls.Config{ServerName: serverName, NextProtos: protos, InsecureSkipVerify: true}).Handshake()
	}()
	head := make([]byte, 5)
	_, err := io.ReadFull(here, head)
	require.NoError(t, err)
	body := make([]byte, int(head[3])<<8|int(head[4]))
	_, err = io.ReadFull(here, body)
	require.NoError(t, err)
	return append(head, body...)
}

// TestSplicePassesOn plays the sibling: it gets the mark, the octets as they
// were, and the end of one direction while the other goes on.
func TestSplicePassesOn(t *testing.T) {
	east := lone(t, newAuthority(t, "prod"), "w0.east", Limits{})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	east.place("w1.east", listener.Addr().String())

	first := clientHello(t, "w1.east.prod", ProtoGossip)
	client := spliced(t, east, first[:7]) // it comes in pieces
	_, err = client.Write(first[7:])
	require.NoError(t, err)
	sibling, err := listener.Accept()
	require.NoError(t, err)
	defer sibling.Close()
	require.NoError(t, sibling.SetDeadline(time.Now().Add(patience)))
	require.NoError(t, client.SetDeadline(time.Now().Add(patience)))
	_, err = sibling.Write([]byte("early"))
	require.NoError(t, err)
	got := make([]byte, 5)
	_, err = io.ReadFull(client, got)
	require.NoError(t, err)
	require.Equal(t, "early", string(got), "and no alert before it")

	_, err = client.Write([]byte("more"))
	require.NoError(t, err)
	require.NoError(t, client.CloseWrite())
	got, err = io.ReadAll(sibling)
	require.NoError(t, err)
	require.Equal(t, handedOn+string(first)+"more", string(got))

	_, err = sibling.Write([]byte("the other direction goes on"))
	require.NoError(t, err)
	require.NoError(t, sibling.Close())
	got, err = io.ReadAll(client)
	require.NoError(t, err)
	require.Equal(t, "the other direction goes on", string(got))
	require.Eventually(t, func() bool { return east.held() == 0 }, patience, time.Millisecond)
	require.Zero(t, value(t, east.metrics.conns.WithLabelValues("splice")))
}

// TestIdleSpliceCloses on fake time, over pipes.
func TestIdleSpliceCloses(t *testing.T) {
	id := identity(t, newAuthority(t, "prod"), "east", trust.Watcher)
	for name, tt := range map[string]struct {
		sibling bool // speaks
		dialer  bool
		open    time.Duration // for how long, after the last word
	}{
		"both speak":    {sibling: true, dialer: true, open: time.Minute},
		"one speaks":    {sibling: true, open: time.Minute},
		"sibling hangs": {dialer: true, open: 5 * time.Second}, // from the start
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tr, err := Listen(Config{Listen: "127.0.0.1:0", Name: "w0.east", Identity: id, Limits: Limits{
					IdleTimeout: time.Minute, HandshakeTimeout: 5 * time.Second,
				}})
				require.NoError(t, err)
				defer tr.Close()
				tr.ctx = t.Context()
				dialer, sibling, served := pipes(t, tr)
				last := time.Now()
				for range 10 {
					if tt.sibling {
						speak(t, sibling, dialer)
					}
					if tt.dialer {
						speak(t, dialer, sibling)
					}
					if tt.sibling { // for far longer than any timeout
						last = time.Now()
						time.Sleep(50 * time.Second)
					}
				}
				<-served
				require.Equal(t, tt.open, time.Since(last))
				_, err = dialer.Read(make([]byte, 1))
				require.ErrorIs(t, err, io.EOF)
				_, err = sibling.Read(make([]byte, 1))
				require.ErrorIs(t, err, io.EOF)
				require.Empty(t, tr.open)
			})
		})
	}
}

// pipes is a splice in memory, and its two ends.
func pipes(t *testing.T, tr *Transport) (dialer, sibling net.Conn, served chan struct{}) {
	t.Helper()
	dialer, a := net.Pipe()
	sibling, b := net.Pipe()
	c, err := tr.own(a, true)
	require.NoError(t, err)
	up, err := tr.own(b, false)
	require.NoError(t, err)
	tie(c, up)
	served = make(chan struct{})
	go func() {
		tr.serveSplice(c, up)
		close(served)
	}()
	return dialer, sibling, served
}

// speak says a word through the splice.
func speak(t *testing.T, from, to net.Conn) {
	t.Helper()
	_, err := from.Write([]byte("word"))
	require.NoError(t, err)
	_, err = io.ReadFull(to, make([]byte, 4))
	require.NoError(t, err)
}

func TestSpliceInPlainText(t *testing.T) {
	insecure := func(cluster string) *trust.Identity {
		id, err := trust.Insecure(trust.ID{Clusterset: "prod", Cluster: cluster, Role: trust.Watcher})
		require.NoError(t, err)
		return id
	}
	addrs := []string{freeport.Addr(t), freeport.Addr(t)}
	east := make([]*running, 2)
	for _, i := range []int{1, 0} {
		east[i] = start(t, Config{Listen: addrs[i], Name: fmt.Sprintf("w%d.east", i), Siblings: addrs, Identity: insecure("east")})
	}
	east[0].knows(t, "w1.east")
	west := start(t, Config{Name: "w0.west", Identity: insecure("west")})
	_, err := west.WritePacket([]byte("hello"), gossip.Peer{Name: "w1.east", Addr: addrs[0]})
	require.NoError(t, err)
	require.Equal(t, "hello", receive(t, east[1]))
	require.Equal(t, 1.0, east[0].splices(t, spliceOK))
	_, err = dial(t, west, gossip.Peer{Name: "w7.east", Addr: addrs[0]})
	require.ErrorContains(t, err, "this is w0.east, not w7.east (no sibling of that name is known)")
}
