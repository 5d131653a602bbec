package replica

import (
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"

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
	sent  map[string][][]byte // by member
}

// watchers are n clusters of so many watchers each.
func watchers(n, each int) *recorded {
	r := &recorded{sent: map[string][][]byte{}}
	for c := range n {
		for w := range each {
			cluster := fmt.Sprintf("c%03d", c)
			r.peers = append(r.peers, Peer{Name: fmt.Sprintf("w%d.%s", w, cluster), Cluster: cluster})
		}
	}
	return r
}

func (n *recorded) Send(member string, msg []byte) error {
	n.sent[member] = append(n.sent[member], msg)
	return nil
}

func (n *recorded) Peers() []Peer { return n.peers }

// all is what was sent, one after another.
func (n *recorded) all() [][]byte {
	var out [][]byte
	for _, msgs := range n.sent {
		out = append(out, msgs...)
	}
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
	require.Len(t, n.all(), 1)
	require.LessOrEqual(t, len(n.all()[0]), maxMessage)

	onward := alone(t, "central")
	onward.HandleMessage("", n.all()[0])
	require.Contains(t, onward.puller.wants, "east")
}
