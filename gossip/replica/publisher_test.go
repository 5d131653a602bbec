package replica

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/gossip/replica/wire"
	"github.com/isthmus-dns/isthmus/gossip/trust"
)

// alone makes a watcher without a network, for tests in a synctest bubble.
func alone(t testing.TB, cluster string) *Replica {
	identity, err := trust.Insecure(trust.ID{Clusterset: "test", Cluster: cluster, Role: trust.Watcher})
	require.NoError(t, err)
	r, err := New(Config{Member: "w0." + cluster, Identity: identity, Table: discovery.NewTable()})
	require.NoError(t, err)
	return r
}

// from signs a version of a part as another watcher of the cluster would, and
// makes the message that announces it without a delta.
func from(t testing.TB, identity *trust.Identity, w *wire.Head, content *part) (*head, []byte) {
	w.Clusterset, w.Cluster = "test", identity.ID().Cluster
	w.Root, w.Items = content.root[:], uint32(content.items)
	h, err := sign(identity, w)
	require.NoError(t, err)
	msg, err := proto.Marshal(&wire.Message{Body: &wire.Message_Announcement{Announcement: &wire.Announcement{Head: h.signed}}})
	require.NoError(t, err)
	return h, msg
}

func records(t testing.TB, services ...*discovery.Service) *part {
	var items []item
	for _, s := range services {
		value, err := encodeService(s)
		require.NoError(t, err)
		items = append(items, newItem(serviceKey(s.Key()), value))
	}
	return emptyPart.with(items, nil)
}

// bring gives a replica a part as a pull would.
func bring(t *testing.T, r *Replica, h *head, content *part) {
	got := &pulled{head: h.signed, buckets: allBuckets()}
	for _, b := range content.buckets {
		if b != nil {
			got.items = append(got.items, b.all()...)
		}
	}
	taken, result, err := r.store.adopt(h.Cluster, got, emptyPart)
	require.NoError(t, err)
	require.Equal(t, applied, result)
	r.puller.took(taken)
}

// TestOvertakenLeader: a watcher that lost its epoch store leads under epoch 1
// when peers bring back what the cluster published under epoch 7. It must not
// add to another leader's epoch, nor fall silent, but lead anew under epoch 8.
func TestOvertakenLeader(t *testing.T) {
	for _, change := range []bool{false, true} {
		t.Run(map[bool]string{false: "without a change", true: "while it publishes"}[change], func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := alone(t, "east")
				p := r.NewPublisher()
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				go func() { _ = r.Run(ctx) }()
				go func() { _ = p.Run(ctx) }()
				go func() { _ = p.Lead(ctx, &counter{}) }()
				p.Update(whole("east", service("user", 3)))
				synctest.Wait()
				require.Equal(t, 3, ready(r.config.Table, "user", "east"))

				before := records(t, service("gone", 1))
				h, _ := from(t, r.config.Identity, &wire.Head{Uid: "uid-east", Epoch: 7, Seq: 5}, before)
				bring(t, r, h, before)
				require.Equal(t, 1, ready(r.config.Table, "gone", "east"))
				if change {
					p.Update(discovery.Update{Services: []*discovery.Service{service("user", 0)}})
				}
				synctest.Wait()
				now, _ := r.store.get("east")
				require.Equal(t, discovery.Version{Epoch: 7, Seq: 5}, now.version(), "the epoch is another leader's")

				time.Sleep(2*epochRetry + heartbeat)
				synctest.Wait()
				now, _ = r.store.get("east")
				require.EqualValues(t, 8, now.Epoch)
				require.Equal(t, -1, ready(r.config.Table, "gone", "east"))
				require.NotEqual(t, -1, ready(r.config.Table, "user", "east"))
				require.NotZero(t, now.Heartbeat, "its heart beats on")
			})
		})
	}
}

// TestNothingIsPublishedAfterLeading: a change that waits for others when the
// Lease ends is the next leader's to publish.
func TestNothingIsPublishedAfterLeading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := alone(t, "east")
		p := r.NewPublisher()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() { _ = r.Run(ctx) }()
		leading, stop := context.WithCancel(ctx)
		go func() { _ = p.Lead(leading, &counter{}) }()
		p.Update(whole("east", service("user", 3)))
		synctest.Wait()
		p.Update(discovery.Update{Services: []*discovery.Service{service("user", 2)}})
		time.Sleep(coalesce / 2)
		stop()
		time.Sleep(time.Second)
		require.Equal(t, 3, ready(r.config.Table, "user", "east"))
	})
}

// tenure is an epoch store whose term can end unnoticed.
type tenure struct {
	counter
	over atomic.Bool
}

func (t *tenure) Holds() bool { return !t.over.Load() }

// TestNothingIsPublishedAfterAnUnnoticedEnd: a leader that was stopped for
// longer than its Lease lasts publishes nothing when it goes on, and takes no
// epoch, which would depose its successor; when it holds the Lease again it
// publishes what it has.
func TestNothingIsPublishedAfterAnUnnoticedEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := alone(t, "east")
		p := r.NewPublisher()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() { _ = r.Run(ctx) }()
		term := &tenure{}
		go func() { _ = p.Lead(ctx, term) }()
		p.Update(whole("east", service("user", 3)))
		synctest.Wait()
		term.over.Store(true)
		p.Update(discovery.Update{Services: []*discovery.Service{service("user", 0)}})
		time.Sleep(10 * epochRetry)
		require.Equal(t, 3, ready(r.config.Table, "user", "east"))
		require.EqualValues(t, 1, term.n)
		term.over.Store(false)
		time.Sleep(2 * epochRetry)
		require.Equal(t, 0, ready(r.config.Table, "user", "east"))
		h, _ := r.store.get("east")
		require.Equal(t, discovery.Version{Epoch: 2, Seq: 2}, h.version())
	})
}

// TestPublishOnAnotherPartIsRefused: whatever removed our own part meanwhile,
// the next version must not be built on it.
func TestPublishOnAnotherPartIsRefused(t *testing.T) {
	r := alone(t, "east")
	content := records(t, service("user", 1))
	h, _ := from(t, r.config.Identity, &wire.Head{Epoch: 1, Seq: 2}, content)
	require.ErrorIs(t, r.store.publish(h, nil, nil), errDeposed, "a heartbeat of nothing")
	require.ErrorIs(t, r.store.publish(h, records(t, service("other", 1)), content), errDeposed)
	require.NoError(t, r.store.publish(h, emptyPart, content))
}
