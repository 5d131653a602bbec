package replica

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/gossip/replica/wire"
)

// wires dials peers, counts what comes from each, and cuts connections.
type wires struct {
	mu     sync.Mutex
	dials  int
	octets map[string]int // by peer
	cut    map[string]int // after so many octets, by peer; for the next connection only
}

func (l *wires) dial(ctx context.Context, to Peer) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", to.Addr)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dials++
	after, ok := l.cut[to.Name]
	if !ok {
		after = 1 << 40
	}
	delete(l.cut, to.Name)
	return &cutConn{Conn: conn, of: l, peer: to.Name, left: after}, nil
}

func (l *wires) came(peer string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.octets[peer]
}

type cutConn struct {
	net.Conn
	of   *wires
	peer string
	left int
}

func (l *cutConn) Read(b []byte) (int, error) {
	if l.left <= 0 {
		l.Close()
		return 0, errors.New("cut")
	}
	n, err := l.Conn.Read(b)
	l.left -= n
	l.of.mu.Lock()
	defer l.of.mu.Unlock()
	l.of.octets[l.peer] += n
	return n, err
}

// between makes a replica that pulls over wires from the given peers.
func between(t *testing.T, sources map[string]*Replica) (*Replica, *wires) {
	l := &wires{octets: map[string]int{}, cut: map[string]int{}}
	r := alone(t, "west")
	r.config.Dial = l.dial
	n := &recorded{}
	for name, source := range sources {
		listener, _ := plain(t, source, pullTimeout)
		n.peers = append(n.peers, Peer{Name: name, Cluster: name[3:], Addr: listener.Addr().String()})
	}
	r.Attach(n)
	return r, l
}

// keeping makes a watcher that has a cluster's part of so many services.
func keeping(t *testing.T, cluster string, services int) (*Replica, *owner) {
	r := alone(t, "central")
	var list []*discovery.Service
	for i := range services {
		list = append(list, service(fmt.Sprint("service-", i), 3))
	}
	o := owns(t, cluster, &wire.Head{Epoch: 1, Seq: 1}, list...)
	bring(t, r, o.head, o.content)
	return r, o
}

// TestBrokenPullGoesOn: what came whole before a connection broke is not sent
// again, by whomever is asked next.
func TestBrokenPullGoesOn(t *testing.T) {
	source, o := keeping(t, "east", 6000)
	r, l := between(t, map[string]*Replica{"w0.aaaa": source, "w0.bbbb": source})
	all := o.content.bytes
	l.cut["w0.aaaa"], l.cut["w0.bbbb"] = all*6/10, all*6/10
	_, err := r.fetch(t.Context(), "east", "w0.aaaa", 0, emptyPart)
	require.Error(t, err)
	require.NotEmpty(t, r.resumer.kept)
	delete(l.cut, "w0.bbbb")

	got, err := r.fetch(t.Context(), "east", "w0.bbbb", 0, emptyPart)
	require.NoError(t, err)
	_, result, err := r.store.adopt("east", got, emptyPart)
	require.NoError(t, err)
	require.Equal(t, applied, result)
	_, have := r.store.get("east")
	require.Equal(t, o.content.root, have.root)
	require.Less(t, l.came("w0.bbbb"), all*8/10, "it sent the rest only")
	require.Empty(t, r.resumer.kept)
	require.Zero(t, r.resumer.bytes)
}

// TestJunkIsNotKept: what a hostile peer made up is replaced by what the next
// one has when it broke off, and thrown away when it was the whole.
func TestJunkIsNotKept(t *testing.T) {
	honest, o := keeping(t, "east", 6000)
	hostile := alone(t, "evil")
	junk := emptyPart
	for _, it := range o.answer().items {
		junk = junk.with([]item{newItem(it.key, []byte(it.key))}, nil)
		if junk.items == 500 {
			break
		}
	}
	for n := range junk.buckets {
		var items []item
		for i := range o.content.buckets[n].size() {
			items = append(items, newItem(o.content.buckets[n].key(i), make([]byte, 80)))
		}
		junk.buckets[n] = newBucket(items)
	}
	junk = junk.sealed()
	hostile.store.clusters["east"] = &replicaPart{part: junk, head: o.head}
	r, l := between(t, map[string]*Replica{"w0.evil": hostile, "w0.good": honest})
	l.cut["w0.evil"] = junk.bytes * 6 / 10
	_, err := r.fetch(t.Context(), "east", "w0.evil", 0, emptyPart)
	require.Error(t, err)
	require.NotEmpty(t, r.resumer.kept, "nobody can tell yet")
	got, err := r.fetch(t.Context(), "east", "w0.good", 0, emptyPart)
	require.NoError(t, err)
	_, _, err = r.store.adopt("east", got, emptyPart)
	require.NoError(t, err)

	r, l = between(t, map[string]*Replica{"w0.evil": hostile, "w0.good": honest})
	l.cut["w0.good"] = o.content.bytes * 6 / 10
	_, err = r.fetch(t.Context(), "east", "w0.good", 0, emptyPart)
	require.Error(t, err)
	got, err = r.fetch(t.Context(), "east", "w0.evil", 0, emptyPart)
	require.NoError(t, err)
	_, _, err = r.store.adopt("east", got, emptyPart)
	require.ErrorIs(t, err, errRoot)
	require.Empty(t, r.resumer.kept)
}

// TestResumerIsBounded: fragments of many clusters don't pile up.
func TestResumerIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newResumer(alone(t, "west").store)
		f := func() *fragment { return &fragment{buckets: map[byte][]item{1: nil}, bytes: maxKept / 3} }
		for i := range 10 {
			r.keep(fmt.Sprint(i), f())
		}
		require.Len(t, r.kept, 3)
		require.LessOrEqual(t, r.bytes, maxKept)
		time.Sleep(keptFor + time.Second)
		r.keep("new", f())
		require.Len(t, r.kept, 1, "nobody came for the old ones")
		require.Equal(t, maxKept/3, r.bytes)
	})
}

// TestSmallItemsAreKeptBounded: items take memory even if there is nothing in
// them.
func TestSmallItemsAreKeptBounded(t *testing.T) {
	r := newResumer(alone(t, "west").store)
	var items []item
	for i := range r.store.limits.Items {
		items = append(items, newItem(fmt.Sprint(i), nil))
	}
	before := heap()
	for i := range 10 {
		got := &pulled{buckets: allBuckets(), items: items}
		r.keep(fmt.Sprint("evil-", i), (*fragment)(nil).merge(got, len(got.buckets)))
	}
	require.Less(t, heap()-before, int64(2*maxKept))
	runtime.KeepAlive(r)
}
