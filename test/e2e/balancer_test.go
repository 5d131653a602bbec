package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/test/freeport"
)

// balancer is a load balancer for TCP: it gives each connection to the next
// backend that takes it, and knows nothing of what goes over it.
type balancer struct {
	addr     string
	backends []string
	next     atomic.Uint32
	ctx      context.Context
}

// balance starts one; it ends with the test.
func balance(t *testing.T, backends ...string) *balancer {
	t.Helper()
	b := &balancer{addr: freeport.Addr(t), backends: backends}
	listener, err := net.Listen("tcp", b.addr)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	b.ctx = ctx
	var all sync.WaitGroup
	all.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			all.Go(func() { b.serve(client) })
		}
	})
	t.Cleanup(func() {
		cancel()
		listener.Close()
		all.Wait()
	})
	return b
}

func (b *balancer) serve(client net.Conn) {
	defer client.Close()
	for range b.backends {
		n := int(b.next.Add(1)) % len(b.backends)
		backend, err := net.DialTimeout("tcp", b.backends[n], time.Second)
		if err != nil {
			continue
		}
		defer backend.Close()
		defer context.AfterFunc(b.ctx, func() {
			client.Close()
			backend.Close()
		})()
		var back sync.WaitGroup
		back.Go(func() { forward(client, backend) })
		forward(backend, client)
		back.Wait()
		return
	}
}

func forward(to, from net.Conn) {
	if _, err := io.Copy(to, from); err != nil {
		to.Close()
		from.Close()
		return
	}
	_ = to.(*net.TCPConn).CloseWrite() // fails only if it is closed already
}

// testOneAddress: all watchers know one another, though each cluster's share an
// address, and nobody was refused for meaning another one, unless that was not
// there yet.
func testOneAddress(t *testing.T, cs *clusterset) {
	cs.meet(t)
	handedOn := 0.0
	for _, s := range cs.sites {
		for _, w := range s.watchers {
			require.Eventually(t, func() bool { return w.metric(t, `isthmus_transport_siblings`) == 1 }, patience, 50*time.Millisecond, w.name)
			wrong := w.metric(t, `isthmus_transport_refused_total{reason="member"}`)
			early := w.metric(t, `isthmus_transport_splices_total{result="unknown"}`) +
				w.metric(t, `isthmus_transport_splices_total{result="unreachable"}`)
			require.LessOrEqual(t, wrong, early, "%s refused who it should have handed on", w.name)
			t.Logf("%s refused %v while its sibling started", w.name, wrong)
			handedOn += w.metric(t, `isthmus_transport_splices_total{result="ok"}`)
		}
	}
	require.Positive(t, handedOn, "the load balancers hit by chance")
	t.Logf("%v connections were handed on", handedOn)
}

// meet waits until every watcher knows all of them.
func (cs *clusterset) meet(t *testing.T) {
	t.Helper()
	var want []string
	for _, s := range cs.sites {
		for n := range s.watchers {
			want = append(want, fmt.Sprintf("watcher-%d.%s", n, s.name))
		}
	}
	slices.Sort(want)
	for _, s := range cs.sites {
		for _, w := range s.watchers {
			require.Eventually(t, func() bool { return slices.Equal(want, w.members()) }, time.Minute, 50*time.Millisecond,
				"members of %s", w.name)
		}
	}
}

// metric is a metric's value, 0 if it is not there.
func (w *watcher) metric(t *testing.T, name string) float64 {
	t.Helper()
	text := w.get("/metrics")
	require.NotEmpty(t, text)
	for line := range bytes.Lines(text) {
		if value, ok := strings.CutPrefix(string(line), name+" "); ok {
			v, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			require.NoError(t, err)
			return v
		}
	}
	return 0
}
