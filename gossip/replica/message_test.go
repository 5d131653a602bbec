package replica

import (
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/gossip/replica/wire"
	"github.com/isthmus-dns/isthmus/gossip/trust"
)

// lines counts what is logged.
type lines struct {
	mu sync.Mutex
	n  int
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.n += strings.Count(string(b), "\n")
	return len(b), nil
}

// TestRefusalsDontFillTheLog: whoever reaches us can be refused as often as he
// likes.
func TestRefusalsDontFillTheLog(t *testing.T) {
	identity, err := trust.Insecure(trust.ID{Clusterset: "test", Cluster: "west", Role: trust.Watcher})
	require.NoError(t, err)
	var out lines
	r, err := New(Config{Member: "w0.west", Identity: identity, Table: discovery.NewTable(), Logger: slog.New(slog.NewTextHandler(&out, nil))})
	require.NoError(t, err)
	for range 1000 {
		r.HandleMessage("", []byte{0xff})
	}
	require.Less(t, out.n, 100)
	require.Positive(t, out.n)
	var m dto.Metric
	require.NoError(t, r.metrics.refused.WithLabelValues("malformed").Write(&m))
	require.EqualValues(t, 1000, m.GetCounter().GetValue(), "each is counted")
}

// recorded is a network of some peers that keeps what is sent.
type recorded struct {
	peers []Peer

	mu   sync.Mutex
	sent []sent
}

type sent struct {
	to  string
	msg []byte
}

// watchers are n clusters of so many watchers each.
func watchers(n, each int) *recorded {
	r := &recorded{}
	for c := range n {
		for w := range each {
			cluster := fmt.Sprintf("c%03d", c)
			r.peers = append(r.peers, Peer{Name: fmt.Sprintf("w%d.%s", w, cluster), Cluster: cluster})
		}
	}
	return r
}

func (n *recorded) Send(member string, msg []byte) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.sent = append(n.sent, sent{member, msg})
	return nil
}

func (n *recorded) Peers() []Peer { return n.peers }

// take is what was sent since the last time.
func (n *recorded) take() []sent {
	n.mu.Lock()
	defer n.mu.Unlock()
	out := n.sent
	n.sent = nil
	return out
}

// TestLargeMessageGoesOnAsAHead: a message that came directly may be larger
// than what gossip carries; its news goes on all the same.
func TestLargeMessageGoesOnAsAHead(t *testing.T) {
	r, n := alone(t, "west"), watchers(1, 1)
	r.Attach(n)
	var services []*discovery.Service
	for i := range 200 {
		services = append(services, service(fmt.Sprint("service-", i), 1))
	}
	o := owns(t, "east", &wire.Head{Epoch: 1, Seq: 1}, services...)
	a := &wire.Announcement{Head: o.head.signed, Delta: &wire.Delta{}}
	for _, it := range o.answer().items {
		a.Delta.Changed = append(a.Delta.Changed, &wire.Item{Key: it.key, Value: it.value})
	}
	msg, err := proto.Marshal(&wire.Message{Body: &wire.Message_Announcement{Announcement: a}})
	require.NoError(t, err)
	require.Greater(t, len(msg), maxMessage)
	r.HandleMessage("", msg)
	require.Equal(t, 1, ready(r.config.Table, "service-7", "east"))
	out := n.take()
	require.Len(t, out, 1)
	require.LessOrEqual(t, len(out[0].msg), maxMessage)

	onward := alone(t, "central")
	onward.HandleMessage("", out[0].msg)
	require.Contains(t, onward.puller.wants, "east")
}

// TestAlarmsAreThereFromTheStart: a counter that appears with its first count
// has no increase that an alert could see.
func TestAlarmsAreThereFromTheStart(t *testing.T) {
	identity, err := trust.Insecure(trust.ID{Clusterset: "test", Cluster: "west", Role: trust.Watcher})
	require.NoError(t, err)
	registry := prometheus.NewRegistry()
	r, err := New(Config{Member: "w0.west", Identity: identity, Table: discovery.NewTable(), Registerer: registry})
	require.NoError(t, err)
	alarm := func(reason string) float64 {
		families, err := registry.Gather()
		require.NoError(t, err)
		for _, f := range families {
			for _, m := range f.GetMetric() {
				if f.GetName() == "isthmus_replica_refused_total" && m.GetLabel()[0].GetValue() == reason {
					return m.GetCounter().GetValue()
				}
			}
		}
		return -1
	}
	require.Zero(t, alarm("equivocation"))
	require.Zero(t, alarm("cloned"))

	content, other := records(t, service("user", 1)), records(t, service("user", 2))
	o := owns(t, "east", &wire.Head{Uid: "u", Epoch: 2, Seq: 5}, service("user", 1))
	_, _, err = r.store.adopt("east", o.answer(), emptyPart)
	require.NoError(t, err)
	_, twice := from(t, o.identity(t), &wire.Head{Uid: "u", Epoch: 2, Seq: 5}, other)
	r.HandleMessage("w0.east", twice)
	require.EqualValues(t, 1, alarm("equivocation"))
	_, clone := from(t, o.identity(t), &wire.Head{Uid: "v", Epoch: 9, Seq: 1}, other)
	r.HandleMessage("w0.east", clone)
	require.EqualValues(t, 1, alarm("cloned"))
	_, part := r.store.get("east")
	require.Equal(t, content.root, part.root, "the first stays")
}
