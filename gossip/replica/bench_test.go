package replica

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/gossip/replica/wire"
	"github.com/isthmus-dns/isthmus/gossip/trust"
)

// crowd is a watcher that knows so many clusters, without a service each.
func crowd(t testing.TB, clusters int) *Replica {
	r := alone(t, "west")
	for i := range clusters {
		o := owns(t, fmt.Sprintf("cluster-%03d", i), &wire.Head{Epoch: 1, Seq: 1})
		_, _, err := r.store.adopt(o.head.Cluster, o.answer(), emptyPart)
		require.NoError(t, err)
	}
	return r
}

func beats(t testing.TB, cluster string, n int) [][]byte {
	identity, err := trust.Insecure(trust.ID{Clusterset: "test", Cluster: cluster, Role: trust.Watcher})
	require.NoError(t, err)
	var out [][]byte
	for i := range n {
		h, _ := from(t, identity, &wire.Head{Epoch: 1, Seq: 1, Heartbeat: uint64(i + 1)}, emptyPart)
		a := &wire.Announcement{Head: h.bare()}
		if i == 0 {
			a.Head = h.signed
		}
		msg, err := proto.Marshal(&wire.Message{Body: &wire.Message_Announcement{Announcement: a}})
		require.NoError(t, err)
		out = append(out, msg)
	}
	return out
}

// BenchmarkHeartbeat is what one cluster's heartbeat costs a watcher: a check
// of its signature, however many clusters there are.
func BenchmarkHeartbeat(b *testing.B) {
	for _, clusters := range []int{1, 1000} {
		b.Run(fmt.Sprint(clusters), func(b *testing.B) {
			r := crowd(b, clusters)
			msgs := beats(b, "cluster-000", 20_000)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if i == len(msgs) {
					b.StopTimer()
					r = crowd(b, clusters)
					i = 0
					b.StartTimer()
				}
				r.HandleMessage("", msgs[i])
			}
		})
	}
}

// BenchmarkRepeatedMessage is what gossip's copies of a message cost, of which
// there are some ten each.
func BenchmarkRepeatedMessage(b *testing.B) {
	r := crowd(b, 1000)
	msg := beats(b, "cluster-000", 1)[0]
	r.HandleMessage("", msg)
	b.ReportAllocs()
	for b.Loop() {
		r.HandleMessage("", msg)
	}
}

func BenchmarkDigest(b *testing.B) {
	r := crowd(b, 1000)
	b.ReportAllocs()
	for b.Loop() {
		r.Digest()
	}
}

// large is a part of so many services.
func large(t testing.TB, services int) *part {
	var items []item
	for i := range services {
		value, err := encodeService(service(fmt.Sprint("service-", i), 3))
		require.NoError(t, err)
		items = append(items, newItem(serviceKey(discovery.MakeKey("production", fmt.Sprint("service-", i))), value))
	}
	return emptyPart.with(items, nil)
}

// BenchmarkPartWith changes one of 100,000 records.
func BenchmarkPartWith(b *testing.B) {
	p := large(b, 100_000)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		it := newItem("s/production/service-77", []byte(fmt.Sprint(i)))
		p = p.with([]item{it}, nil)
	}
}

// BenchmarkPartReplace takes all buckets of 100,000 records from a pull.
func BenchmarkPartReplace(b *testing.B) {
	p := large(b, 100_000)
	var items []item
	for _, bucket := range p.buckets {
		items = append(items, bucket.all()...)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := emptyPart.replace(allBuckets(), items); !ok {
			b.Fatal("refused")
		}
	}
}

// BenchmarkAdoptWhole is a new cluster of 100,000 services, from the pulled
// items to the table.
func BenchmarkAdoptWhole(b *testing.B) {
	o := owns(b, "east", &wire.Head{Epoch: 1, Seq: 1})
	o.content = large(b, 100_000)
	o.head, _ = from(b, o.identity(b), &wire.Head{Epoch: 1, Seq: 1}, o.content)
	got := o.answer()
	b.ReportAllocs()
	for b.Loop() {
		r := alone(b, "west")
		if _, _, err := r.store.adopt("east", got, emptyPart); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkAdoptBeside is BenchmarkAdoptWhole with others at work: somebody
// who looks names up, and a heartbeat of another cluster that wants in. It
// reports how long those took at worst and at the 99th percentile.
func BenchmarkAdoptBeside(b *testing.B) {
	o := owns(b, "east", &wire.Head{Epoch: 1, Seq: 1})
	o.content = large(b, 100_000)
	o.head, _ = from(b, o.identity(b), &wire.Head{Epoch: 1, Seq: 1}, o.content)
	got := o.answer()
	msgs := beats(b, "north", 20_000)
	var lookups, heartbeats []time.Duration
	b.ReportAllocs()
	for b.Loop() {
		r := alone(b, "west")
		done := make(chan struct{})
		var beside sync.WaitGroup
		beside.Go(func() {
			for i := 0; !closed(done); i++ {
				key := discovery.MakeKey("production", fmt.Sprint("service-", i%100_000))
				begun := time.Now()
				r.config.Table.Lookup(key)
				lookups = append(lookups, time.Since(begun))
				time.Sleep(100 * time.Microsecond)
			}
		})
		beside.Go(func() {
			for i := 0; !closed(done) && i < len(msgs); i++ {
				begun := time.Now()
				r.HandleMessage("w0.north", msgs[i])
				heartbeats = append(heartbeats, time.Since(begun))
				time.Sleep(time.Millisecond)
			}
		})
		if _, _, err := r.store.adopt("east", got, emptyPart); err != nil {
			b.Fatal(err)
		}
		close(done)
		beside.Wait()
	}
	for what, list := range map[string][]time.Duration{"lookup": lookups, "heartbeat": heartbeats} {
		slices.Sort(list)
		b.ReportMetric(float64(list[len(list)-1].Microseconds())/1e3, what+"-max-ms")
		b.ReportMetric(float64(list[len(list)*99/100].Microseconds())/1e3, what+"-p99-ms")
	}
}
