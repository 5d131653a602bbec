package transport

import (
	"crypto/tls"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/gossip/trust"
)

// rotating is a member whose certificate files are exchanged while it runs.
type rotating struct {
	*member
	id    trust.ID
	files trust.Files
}

func startRotating(t *testing.T, a *trust.Authority, cluster string, join ...string) *rotating {
	t.Helper()
	r := &rotating{id: trust.ID{Clusterset: "prod", Cluster: cluster, Role: trust.Watcher}}
	identity, files := issued(t, a, r.id, time.Hour)
	r.files, r.member = files, startMember(t, Config{Name: "w0." + cluster, Identity: identity}, join...)
	return r
}

func (r *rotating) rotate(t *testing.T, issuer *trust.Authority, roots ...*trust.Authority) {
	t.Helper()
	reissue(t, r.files, issuer, r.id, time.Hour, roots...)
	require.NoError(t, r.cfg.Identity.Reload())
}

// TestRootsRotateUnderTraffic goes from root A over A and B to B, while two
// pools talk. Whoever was left behind with a certificate of A is cut off.
func TestRootsRotateUnderTraffic(t *testing.T) {
	a, b := newAuthority(t, "prod"), newAuthority(t, "prod")
	west := startRotating(t, a, "west")
	east := startRotating(t, a, "east", west.Addr().String())
	behind := hostile{id: identity(t, a, "behind", trust.Watcher)}
	talk := func(step string) {
		t.Helper()
		for i, way := range [][2]*rotating{{west, east}, {east, west}} {
			// A packet that was under way on a connection that was cut is lost;
			// gossip expects no more of packets.
			text := fmt.Sprintf("%s %d", step, i)
			require.Eventually(t, func() bool {
				_ = way[0].Send("w0."+way[1].id.Cluster, []byte(text))
				for {
					select {
					case got := <-way[1].messages:
						if got == text {
							return true
						}
					default:
						return false
					}
				}
			}, patience, 5*time.Millisecond, text)
		}
		require.Len(t, west.names(), 2, step)
		require.Len(t, east.names(), 2, step)
	}
	talk("before")
	packets, answer := behind.hello(t, east.Addr(), kindPackets, "w0.behind")
	require.Equal(t, codeOK, answer.code)
	stream, answer := behind.hello(t, east.Addr(), kindStream, "w0.behind")
	require.Equal(t, codeOK, answer.code)
	grpc := behind.tls(t, east.Addr(), protoGRPC)
	server, err := east.GRPC().Accept()
	require.NoError(t, err)
	defer server.Close()

	for _, m := range []*rotating{west, east} {
		m.rotate(t, a, a, b)
		talk(m.id.Cluster + " trusts both roots")
	}
	for _, m := range []*rotating{west, east} {
		m.rotate(t, b, a, b)
		talk(m.id.Cluster + " has a certificate of the new root")
	}
	cut := func(m *rotating) float64 { return value(t, m.metrics.cut.WithLabelValues(cutUntrusted)) }
	require.Zero(t, cut(west)+cut(east), "nobody was thrown out yet")
	for _, m := range []*rotating{west, east} {
		m.rotate(t, b, b)
		talk(m.id.Cluster + " trusts the new root only")
	}
	for _, c := range []*tls.Conn{packets, stream, grpc} {
		requireClosed(t, c)
	}
	require.GreaterOrEqual(t, cut(east), 3.0, "also that to west, which knew the old certificate")
	raw := behind.tls(t, east.Addr(), ProtoGossip) // in TLS 1.3 the refusal comes later
	requireClosed(t, raw)
	east.refusedFor(t, string(trust.ReasonWrongRoot), 1)
}
