package process

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/isthmus-dns/isthmus/gossip"
	"github.com/isthmus-dns/isthmus/gossip/replica/wire"
	"github.com/isthmus-dns/isthmus/gossip/transport"
	"github.com/isthmus-dns/isthmus/gossip/trust"
	"github.com/isthmus-dns/isthmus/test/cluster"
)

var errTimeout = os.ErrDeadlineExceeded

// TestCertificateOfAnotherCluster: a watcher refuses to start with one. A
// program that is not ours and does not is refused by the peers, at the hello
// and at the signature under a head.
func TestCertificateOfAnotherCluster(t *testing.T) {
	s := clusters(t, "west", "east")
	west, east := s.Clusters[0], s.Clusters[1]
	// A cluster that is trusted, and taken over.
	south := s.Add(cluster.Spec{Name: "south"})

	s.Step("own start", func(t *testing.T) {
		cluster.Issue(t, s.Authority, trust.ID{Clusterset: cluster.Name, Cluster: "east", Role: trust.Watcher}, filepath.Join(south.Dir, "east"))
		r := startWith(t, south, "cert: watcher.crt, key: watcher.key", "cert: east.crt, key: east.key")
		requireMistake(t, r, place(t, south.ConfigFile(), "tls:"),
			"tls.cert: ", "names spiffe://test/cluster/east/watcher, but this is spiffe://test/cluster/south/watcher", "use that cluster's watcher certificate")
	})
	s.Step("hello", func(t *testing.T) {
		before := west.Metric(refused, "reason", "name")
		answer := sayHello(t, west, south.Identity(), "south-0.east")
		require.Contains(t, answer, "certificate names cluster south, member name south-0.east says east")
		west.Reaches(before+1, refused, "reason", "name")
		west.Watcher.Logged("connection refused", "certificate names cluster south", "south-0.east")
	})
	s.Step("agent's certificate", func(t *testing.T) {
		base := filepath.Join(south.Dir, "agent")
		agent, err := trust.Load(trust.Files{Cert: base + ".crt", Key: base + ".key", CA: filepath.Join(south.Dir, "ca.crt")}, cluster.Name)
		require.NoError(t, err)
		answer := sayHello(t, west, agent, "south-0.south")
		require.Contains(t, answer, "certificate is spiffe://test/cluster/south/agent: only watchers gossip")
		west.Reaches(1, refused, "reason", "role")
	})
	s.Step("signature", func(t *testing.T) {
		member := join(t, south, west, east)
		loop := west.Loop(append(expected(&cluster.Set{Clusters: s.Clusters[:2]}),
			cluster.Expect{Query: cluster.Query{Name: "only-there.evil.global.", Type: "A"}, Right: []string{"NXDOMAIN"}})...)
		forged := forge(t, south.Identity(), "east")
		for _, to := range []string{"west-0.west", "east-0.east"} {
			require.NoError(t, member.Send(to, forged))
		}
		for _, c := range []*cluster.Cluster{west, east} {
			c.Reaches(1, "isthmus_replica_refused_total", "reason", "impostor")
			c.Watcher.Logged("record refused", "cluster east", "signed by another identity than its cluster's watcher",
				"spiffe://test/cluster/south/watcher")
		}
		loop.Goes(50)
		loop.Stop()
		require.InDelta(t, 2, west.Metric("isthmus_table_clusters"), 0)
	})
}

// sayHello says by hand who calls, under the given name, and returns the
// reason why that is refused (gossip/transport, hello.go).
func sayHello(t *testing.T, to *cluster.Cluster, as *trust.Identity, name string) string {
	t.Helper()
	conn, err := tls.Dial("tcp", to.Gossip, as.Client(nil, "", transport.ProtoGossip))
	require.NoError(t, err)
	defer conn.Close()
	const version, packets, isRefused = 1, 1, 1
	hello := append([]byte("isth"), version, packets, 1, 2, 3, 4, 5, 6, 7, 8, byte(len(name)), 0)
	_, err = conn.Write(append(hello, name...))
	require.NoError(t, err)
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(patience)))
	answer, err := io.ReadAll(io.LimitReader(conn, 1<<10)) // until they hang up
	require.NoError(t, err)
	require.Greater(t, len(answer), 8)
	require.EqualValues(t, isRefused, answer[5])
	return string(answer[8:])
}

// join takes part in the pool as a cluster's watcher would, with our own
// transport and pool but no replica.
func join(t *testing.T, as *cluster.Cluster, through ...*cluster.Cluster) *gossip.Pool {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	name := as.Name + "-0." + as.Name
	carrier, err := transport.Listen(transport.Config{Listen: as.Gossip, Name: name, Identity: as.Identity(), Logger: log})
	require.NoError(t, err)
	var seeds []string
	for _, c := range through {
		seeds = append(seeds, c.Gossip)
	}
	pool, err := gossip.New(gossip.Config{Name: name, Advertise: as.Gossip, Join: seeds, Transport: carrier, Handler: deaf{}, Logger: log})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 2)
	go func() { ended <- carrier.Run(ctx) }()
	go func() { ended <- pool.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-ended)
		require.NoError(t, <-ended)
	})
	require.Eventually(t, func() bool { return len(pool.Members()) == 1+len(through) }, patience, pause)
	return pool
}

// deaf is a member that keeps nothing.
type deaf struct{}

func (deaf) HandleMessage(string, []byte) {}
func (deaf) HandleDigest([]byte)          {}
func (deaf) Digest() []byte               { return nil }
func (deaf) PeersChanged()                {}

// forge makes a head of a cluster that another cluster's watcher has signed,
// far newer than the true one.
func forge(t *testing.T, signer *trust.Identity, of string) []byte {
	t.Helper()
	head, err := proto.Marshal(&wire.Head{
		Clusterset: cluster.Name, Cluster: of, Uid: "anything", Epoch: 1 << 40, Seq: 1, Root: make([]byte, 32), Items: 1,
	})
	require.NoError(t, err)
	s, err := signer.Sign(append([]byte("isthmus head v1\n"), head...))
	require.NoError(t, err)
	message, err := proto.Marshal(&wire.Message{Body: &wire.Message_Announcement{Announcement: &wire.Announcement{
		Head:  &wire.SignedHead{Head: head, KeyId: s.KeyID, Signature: s.Sig, Chain: s.Chain},
		Delta: &wire.Delta{Changed: []*wire.Item{{Key: "s/evil/only-there"}}},
	}}})
	require.NoError(t, err)
	return message
}

// rootName is how logs name an authority.
func rootName(t *testing.T, a *trust.Authority) string {
	t.Helper()
	block, _ := pem.Decode(a.CertPEM())
	root, err := x509.ParseCertificate(block.Bytes)
	require.NoError(t, err)
	return root.Subject.CommonName
}
