package replica

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/gossip/trust"
)

// pki issues identities of one clusterset into a temporary directory.
type pki struct {
	t         testing.TB
	authority *trust.Authority
	dir       string
}

func newPKI(t testing.TB) *pki {
	a, err := trust.NewAuthority("test")
	require.NoError(t, err)
	return &pki{t: t, authority: a, dir: t.TempDir()}
}

func (p *pki) identity(cluster string, role trust.Role) *trust.Identity {
	cert, key, err := p.authority.Issue(trust.ID{Clusterset: "test", Cluster: cluster, Role: role}, time.Hour)
	require.NoError(p.t, err)
	base := filepath.Join(p.dir, cluster+"-"+string(role))
	files := trust.Files{Cert: base + ".crt", Key: base + ".key", CA: filepath.Join(p.dir, "ca.crt")}
	require.NoError(p.t, os.WriteFile(files.Cert, cert, 0o600))
	require.NoError(p.t, os.WriteFile(files.Key, key, 0o600))
	require.NoError(p.t, os.WriteFile(files.CA, p.authority.CertPEM(), 0o600))
	i, err := trust.Load(files, "test")
	require.NoError(p.t, err)
	return i
}

// network is a gossip layer in memory: a send is a call in a goroutine.
type network struct {
	mu    sync.Mutex
	nodes map[string]*node
	cut   map[string]bool // members whose messages are lost
}

// node is one watcher.
type node struct {
	*Replica
	net       *network
	peer      Peer
	publisher *Publisher
	ended     chan error // gets Run's result
	stop      func()
}

func (n *node) Send(member string, msg []byte) error {
	n.net.mu.Lock()
	to := n.net.nodes[member]
	lost := n.net.cut[member] || n.net.cut[n.peer.Name]
	n.net.mu.Unlock()
	if to == nil || lost {
		return fmt.Errorf("no member %s", member)
	}
	go to.HandleMessage(n.peer.Name, append([]byte(nil), msg...))
	return nil
}

func (n *node) Peers() []Peer {
	n.net.mu.Lock()
	defer n.net.mu.Unlock()
	var out []Peer
	for name, other := range n.net.nodes {
		if name != n.peer.Name {
			out = append(out, other.peer)
		}
	}
	return out
}

// exchange is a push/pull between two nodes.
func exchange(a, b *node) {
	a.HandleDigest(b.Digest())
	b.HandleDigest(a.Digest())
}

// start runs a watcher's replica with a TLS listener on loopback.
func (n *network) start(t testing.TB, p *pki, member, cluster string) *node {
	return n.launch(t, p, member, cluster, false)
}

// startExpecting is start for a watcher that has seeds, and so waits for its
// peers before it publishes.
func (n *network) startExpecting(t testing.TB, p *pki, member, cluster string) *node {
	return n.launch(t, p, member, cluster, true)
}

func (n *network) launch(t testing.TB, p *pki, member, cluster string, expect bool) *node {
	identity := p.identity(cluster, trust.Watcher)
	r, err := New(Config{
		Member: member, Identity: identity, Table: discovery.NewTable(), ExpectPeers: expect,
		Viewer: View{Cluster: cluster, Locality: discovery.Locality{Region: "r-" + cluster}},
		Logger: slog.New(slog.NewTextHandler(testWriter{t}, nil)),
	})
	require.NoError(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() { _ = r.Serve(ctx, shaking{l, identity.Server(nil, ALPN)}) })
	ended := make(chan error, 1)
	done.Go(func() { ended <- r.Run(ctx) })
	nd := &node{Replica: r, net: n, ended: ended, peer: Peer{Name: member, Cluster: cluster, Addr: l.Addr().String()}}
	nd.publisher = r.NewPublisher()
	nd.stop = sync.OnceFunc(func() { cancel(); done.Wait() })
	t.Cleanup(nd.stop)
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.nodes == nil {
		n.nodes, n.cut = map[string]*node{}, map[string]bool{}
	}
	n.nodes[member] = nd
	r.Attach(nd)
	return nd
}

// lead publishes until the test ends or the returned function is called.
func (n *node) lead(t testing.TB, epochs Epochs) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() { _ = n.publisher.Lead(ctx, epochs) })
	stop = sync.OnceFunc(func() { cancel(); done.Wait() })
	t.Cleanup(stop)
	return stop
}

// shaking is a listener whose connections have shaken hands; a failed
// handshake only closes its connection.
type shaking struct {
	net.Listener
	config *tls.Config
}

func (s shaking) Accept() (net.Conn, error) {
	for {
		raw, err := s.Listener.Accept()
		if err != nil {
			return nil, err
		}
		conn := tls.Server(raw, s.config)
		if conn.Handshake() == nil {
			return conn, nil
		}
		raw.Close()
	}
}

// counter is an epoch store in memory.
type counter struct {
	mu sync.Mutex
	n  uint64
}

func (c *counter) NextEpoch(_ context.Context, atLeast uint64) (uint64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n = max(c.n, atLeast) + 1
	return c.n, nil
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(b []byte) (int, error) {
	if os.Getenv("ISTHMUS_TEST_LOG") != "" {
		return os.Stderr.Write(b)
	}
	return io.Discard.Write(b)
}

// service makes a record with so many ready endpoints.
func service(name string, ready uint32) *discovery.Service {
	return &discovery.Service{
		Namespace: "production", Name: name, Kind: discovery.KindClusterIP,
		Ports:      []discovery.Port{{Name: "http", Protocol: discovery.TCP, Port: 8080}},
		ClusterIPs: []netip.Addr{netip.MustParseAddr("10.96.0.7")},
		Counts:     []discovery.ZoneCount{{Zone: "a", Ready: ready, Total: 3}},
	}
}

func whole(cluster string, services ...*discovery.Service) discovery.Update {
	return discovery.Update{Whole: true, Cluster: &discovery.Cluster{Name: cluster, UID: "uid-" + cluster}, Services: services}
}

// ready is how many ready endpoints a table shows for production/name in a
// cluster; -1 if there is no such record.
func ready(t *discovery.Table, name, cluster string) int {
	e := t.Lookup(discovery.MakeKey("production", name))
	if e == nil {
		return -1
	}
	s := e.Candidate(cluster)
	if s == nil {
		return -1
	}
	return int(s.Ready())
}

func eventually(t testing.TB, what string, ok func() bool) {
	require.Eventually(t, ok, 10*time.Second, 2*time.Millisecond, what)
}
