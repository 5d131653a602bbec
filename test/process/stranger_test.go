package process

import (
	"crypto/tls"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/gossip/trust"
	"github.com/isthmus-dns/isthmus/test/cluster"
)

// refused is the transport's counter of connections that were not let in.
const refused = "isthmus_transport_refused_total"

// TestOtherRoot: watchers with certificates from another root join nobody, and
// both sides say which roots there are.
func TestOtherRoot(t *testing.T) {
	s := clusters(t, "west", "east")
	west, east := s.Clusters[0], s.Clusters[1]
	other, err := trust.NewAuthority(cluster.Name)
	require.NoError(t, err)
	ours, theirs := rootName(t, s.Authority), rootName(t, other)
	require.NotEqual(t, ours, theirs)

	for _, c := range []struct {
		name, cluster string
		trusts        []*trust.Authority
		reason        string   // at those who refuse
		here, there   []string // in the logs of west and of the stranger
	}{
		{
			// It claims to be east, and would send west's clients to itself.
			name: "of a name that is there", cluster: "east", trusts: []*trust.Authority{s.Authority, other},
			reason: "wrong_root",
			here:   []string{"connection refused", "spiffe://test/cluster/east/watcher", theirs, "does not chain to a trusted root", ours},
			there:  []string{"peer refused our certificate", ours, theirs},
		},
		{
			name: "of a new name", cluster: "north", trusts: []*trust.Authority{s.Authority, other},
			reason: "wrong_root",
			here:   []string{"connection refused", "spiffe://test/cluster/north/watcher", theirs, "does not chain to a trusted root", ours},
			there:  []string{"peer refused our certificate", ours, theirs},
		},
		{
			name: "that does not trust ours either", cluster: "south", trusts: []*trust.Authority{other},
			reason: "tls",
			here:   []string{"connection refused", "bad certificate"},
			there:  []string{"spiffe://test/cluster/west/watcher", ours, "does not chain to a trusted root", theirs},
		},
	} {
		s.Step(c.name, func(t *testing.T) {
			stranger := s.Add(cluster.Spec{Name: c.cluster, Label: "stranger-" + c.cluster, Authority: other, Trusts: c.trusts})
			evil := cluster.Service{Namespace: "evil", Name: "only-there", Ready: 1}
			stranger.Export(evil)
			stranger.Export(cluster.Service{Namespace: everywhere.Namespace, Name: everywhere.Name, Ready: 100})
			before := [2]float64{west.Metric(refused, "reason", c.reason), east.Metric(refused, "reason", c.reason)}
			clustersKnown := west.Metric("isthmus_table_clusters")
			questions := append(expected(&cluster.Set{Clusters: []*cluster.Cluster{west, east}}),
				cluster.Expect{Query: cluster.Query{Name: "only-there.evil.global.", Type: "A"}, Right: []string{"NXDOMAIN"}},
				cluster.Expect{Query: cluster.Query{Name: "evil.global.", Type: "A"}, Right: []string{"NXDOMAIN"}})
			loop := west.Loop(questions...)

			stranger.Watcher.Start()
			west.Reaches(before[0]+2, refused, "reason", c.reason)
			east.Reaches(before[1]+2, refused, "reason", c.reason)
			west.Watcher.Logged(c.here...)
			stranger.Watcher.Logged(c.there...)
			loop.Goes(2 * len(questions))
			loop.Stop()
			require.InDelta(t, clustersKnown, west.Metric("isthmus_table_clusters"), 0)
			require.InDelta(t, 2, west.Metric("isthmus_gossip_members"), 0)
			stranger.Watcher.Stop()
		})
	}
}

// TestNoCertificate: neither gossip nor gRPC talks to who presents none.
func TestNoCertificate(t *testing.T) {
	s := clusters(t, "west", "east")
	west := s.Clusters[0]
	for _, proto := range []string{"isthmus-gossip/1", "h2"} {
		s.Step(proto, func(t *testing.T) {
			before := west.Metric(refused, "reason", "no_certificate")
			conn, err := tls.Dial("tcp", west.Gossip, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{proto}})
			require.NoError(t, err) // in TLS 1.3 the server looks after the client is done
			defer conn.Close()
			requireShut(t, conn, "tls: bad certificate")
			west.Reaches(before+1, refused, "reason", "no_certificate")
			west.Watcher.Logged("connection refused", "it presented no certificate", conn.LocalAddr().String())
		})
	}
	s.Step("no TLS", func(t *testing.T) {
		conn, err := net.Dial("tcp", west.Gossip)
		require.NoError(t, err)
		defer conn.Close()
		_, err = conn.Write([]byte("isth\x01\x01 in plain text, as with insecure: true"))
		require.NoError(t, err)
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(patience)))
		_, err = io.Copy(io.Discard, conn)
		require.NotErrorIs(t, err, errTimeout)
		west.Reaches(1, refused, "reason", "tls")
		west.Watcher.Logged("connection refused", "first record does not look like a TLS handshake")
	})
}

// requireShut wants the other side to end a connection with an alert.
func requireShut(t *testing.T, conn net.Conn, alert string) {
	t.Helper()
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(patience)))
	_, err := conn.Read(make([]byte, 1))
	require.ErrorContains(t, err, alert)
}
