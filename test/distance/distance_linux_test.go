package distance

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/test/cluster"
)

const name = "cart.shop.global."

// place is where a cluster's gateway is.
type place struct {
	cluster string
	gateway netip.Addr
	rtt     time.Duration
}

var places = []place{
	{"west", netip.MustParseAddr("198.18.0.10"), time.Millisecond},
	// By name the nearest is neither first nor last.
	{"lisbon", netip.MustParseAddr("198.18.0.20"), 5 * time.Millisecond},
	{"kyoto", netip.MustParseAddr("198.18.0.30"), 40 * time.Millisecond},
	{"quito", netip.MustParseAddr("198.18.0.40"), 120 * time.Millisecond},
}

// TestNearest: with `order: latency` clients are sent to the gateway that is
// nearest by measured round-trip time, also when times vary by 30 %; to the next
// one when packets to it are lost, and back when they arrive again.
func TestNearest(t *testing.T) {
	needNamespace(t)
	gateways := map[netip.Addr]time.Duration{}
	for _, p := range places {
		gateways[p.gateway] = p.rtt
	}
	far := world(t, gateways)
	s, west := start(t)

	s.Step("all are one tier", func(*testing.T) {
		west.Answers(name, "SRV", "3 2 8080 kyoto."+name+" 3 2 8080 lisbon."+name+" 3 2 8080 quito."+name)
	})
	west.Rewrite("gossip:", "routing: {order: latency}\ngossip:")
	s.Step("the nearest first", func(t *testing.T) {
		nearest(t, west, "lisbon", "kyoto", "quito")
	})
	s.Step("jitter", func(t *testing.T) {
		for _, p := range places {
			far.change(p.gateway, func(p *path) { p.jitter = 0.3 })
		}
		asked, changes, before := 0, 0, ask(t, west, "SRV").String()
		for end := time.Now().Add(watched()); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
			require.Equal(t, []string{places[1].gateway.String()}, ask(t, west, "A").Data, "after %d", asked)
			if now := ask(t, west, "SRV").String(); now != before {
				t.Logf("%q, then %q", before, now)
				changes, before = changes+1, now
			}
			require.Equal(t, []string{"lisbon", "kyoto", "quito"}, order(t, west))
			asked++
		}
		t.Logf("%d times the nearest; priorities changed %d times", asked, changes)
	})
	s.Step("packets to the nearest are lost", func(t *testing.T) {
		begun := time.Now()
		far.change(places[1].gateway, func(p *path) { p.cut = true })
		nearest(t, west, "kyoto", "quito")
		t.Logf("out of the answers after %s", time.Since(begun).Round(10*time.Millisecond))
	})
	s.Step("and arrive again", func(t *testing.T) {
		begun := time.Now()
		far.change(places[1].gateway, func(p *path) { p.cut = false })
		nearest(t, west, "lisbon", "kyoto", "quito")
		t.Logf("in the answers after %s", time.Since(begun).Round(10*time.Millisecond))
	})
}

// watched is how long answers are looked at while times vary.
func watched() time.Duration {
	if os.Getenv("ISTHMUS_SOAK") != "" {
		return 5 * time.Minute
	}
	return 10 * time.Second
}

// start starts clusters whose gateways are checked; all but west have the
// service.
func start(t *testing.T) (*cluster.Set, *cluster.Cluster) {
	names := make([]string, len(places))
	for i, p := range places {
		names[i] = p.cluster
	}
	s := cluster.New(t, names...)
	for i, c := range s.Clusters {
		c.Rewrite(fmt.Sprintf("addresses: [%s]", c.Gateway), fmt.Sprintf("addresses: [%s]", places[i].gateway))
		c.Rewrite("check: {type: none}", "check: {type: tcp}")
		c.Rewrite("gossip:", "health: {interval: 1s, timeout: 800ms, unhealthy: 3, healthy: 2}\ngossip:")
		c.Gateway = places[i].gateway.String()
		if i > 0 {
			c.Export(cluster.Service{Namespace: "shop", Name: "cart", Ready: 2})
		}
	}
	s.Start()
	return s, s.Clusters[0]
}

func ask(t *testing.T, c *cluster.Cluster, rrtype string) cluster.Answer {
	t.Helper()
	a, err := c.Ask(cluster.Query{Name: name, Type: rrtype})
	require.NoError(t, err)
	return a
}

// nearest waits until the clusters come in an order.
func nearest(t *testing.T, c *cluster.Cluster, want ...string) {
	t.Helper()
	var now []string
	for end := time.Now().Add(time.Minute); !slices.Equal(now, want); time.Sleep(20 * time.Millisecond) {
		require.True(t, time.Now().Before(end), "%v, wanted %v", now, want)
		now = order(t, c)
	}
}

// order is the clusters by the priority of their SRV records.
func order(t *testing.T, c *cluster.Cluster) []string {
	t.Helper()
	type record struct {
		priority, weight, port int
		target                 string
	}
	var records []record
	for _, data := range ask(t, c, "SRV").Data {
		var r record
		_, err := fmt.Sscan(data, &r.priority, &r.weight, &r.port, &r.target)
		require.NoError(t, err)
		records = append(records, r)
	}
	slices.SortFunc(records, func(a, b record) int { return a.priority - b.priority })
	var clusters []string
	for _, r := range records {
		cluster, _, _ := strings.Cut(r.target, ".")
		clusters = append(clusters, cluster)
	}
	return clusters
}
