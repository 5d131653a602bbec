package replica

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/gossip/replica/wire"
)

// TestSlowSourcesLeaveSlots: clusters that announce all the time and let those
// who pull from them hang must not keep the others from being pulled.
func TestSlowSourcesLeaveSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var hanging, most atomic.Int32
		owners := map[string]*owner{}
		for i := range 30 {
			name := fmt.Sprint("good-", i)
			owners[name] = owns(t, name, &wire.Head{Epoch: 1, Seq: 1}, service("user", 3))
		}
		r := fetching(t, func(ctx context.Context, cluster, _ string, attempt int) (*pulled, error) {
			if o := owners[cluster]; o != nil {
				time.Sleep(100 * time.Millisecond)
				return o.answer(), nil
			}
			most.Store(max(most.Load(), hanging.Add(1)))
			defer hanging.Add(-1)
			select {
			case <-ctx.Done():
				return nil, ctx.Err()
			case <-time.After(stallTime):
				return nil, errStalled
			}
		})
		running(t, r.puller)
		evil := func() {
			for i := range 8 {
				r.puller.want(fmt.Sprint("evil-", i), discovery.Version{Epoch: 1, Seq: uint64(time.Now().UnixNano())})
			}
		}
		for range 3 * stallTime / time.Second {
			evil()
			pass(time.Second)
		}
		most.Store(0)
		for name := range owners {
			r.puller.want(name, v1)
		}
		for range stallTime / time.Second {
			evil()
			pass(time.Second)
		}
		for name := range owners {
			require.Equal(t, 3, ready(r.config.Table, "user", name), name)
		}
		require.LessOrEqual(t, most.Load(), int32(slowPulls))
	})
}

// TestOneSourceGetsItsShare: a peer that claims to have everything, and lets
// everybody hang, is not the only one that is asked.
func TestOneSourceGetsItsShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		known := owns(t, "east", &wire.Head{Epoch: 1, Seq: 1}, service("user", 1))
		newer := owns(t, "east", &wire.Head{Epoch: 1, Seq: 2}, service("user", 3))
		var hanging, most atomic.Int32
		r := fetching(t, func(ctx context.Context, _, hint string, attempt int) (*pulled, error) {
			if !strings.HasSuffix(hint, ".evil") || attempt > 0 {
				if hint == "e0.east" {
					return newer.answer(), nil
				}
				return nil, errors.New("not here")
			}
			most.Store(max(most.Load(), hanging.Add(1)))
			defer hanging.Add(-1)
			select {
			case <-ctx.Done():
			case <-time.After(stallTime):
			}
			return nil, errStalled
		})
		bring(t, r, known.head, known.content)
		for i := range 2 * r.config.Limits.Clusters {
			r.puller.wantClaimed(fmt.Sprint("fake-", i), v1, "w0.evil")
		}
		running(t, r.puller)
		pass(time.Second)
		require.EqualValues(t, sourcePulls, most.Load())
		r.puller.wantClaimed("east", discovery.Version{Epoch: 1, Seq: 2}, "e0.east")
		pass(time.Second)
		require.Equal(t, 3, ready(r.config.Table, "user", "east"))
	})
}

// TestAGoodSourceGetsMore: whoever answers well brings more at once, until it
// fails.
func TestAGoodSourceGetsMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var busy, most atomic.Int32
		r := fetching(t, func(_ context.Context, _, _ string, attempt int) (*pulled, error) {
			if attempt > 0 {
				return nil, errors.New("not here")
			}
			most.Store(max(most.Load(), busy.Add(1)))
			defer busy.Add(-1)
			time.Sleep(200 * time.Millisecond)
			return nil, errors.New("not here")
		})
		claim := func() int {
			most.Store(0)
			for i := range 6 {
				r.puller.wantClaimed(fmt.Sprint("c", i), v1, "w0.peer")
			}
			pass(time.Minute)
			return int(most.Load())
		}
		running(t, r.puller)
		require.Equal(t, sourcePulls, claim())
		r.puller.mu.Lock()
		r.puller.rateLocked(&want{from: "peer"}, nil)
		r.puller.mu.Unlock()
		require.Equal(t, goodSourcePulls, claim())
		require.Equal(t, sourcePulls, claim(), "it has failed")
	})
}

// TestStalledPullEnds: a source must send something, and enough of it.
func TestStalledPullEnds(t *testing.T) {
	o := owns(t, "east", &wire.Head{Epoch: 1, Seq: 1})
	var items []item
	for i := range 20 {
		items = append(items, newItem(fmt.Sprint("later/", i), make([]byte, 8<<10)))
	}
	o.content = emptyPart.with(items, nil)
	o.head, _ = from(t, o.identity(t), &wire.Head{Epoch: 1, Seq: 1}, o.content)
	first := &wire.PullResponse{Head: o.head.signed, Buckets: allBuckets()}
	for _, tt := range []struct {
		name  string
		items int           // in each message
		every time.Duration // between them
		ends  time.Duration // when the pull must have ended
		err   error
	}{
		{"nothing", 0, time.Hour, stallTime, errStalled},
		{"too little", 0, time.Second, 2 * stallTime, errStalled},
		{"a little too slowly", 1, stallTime / 2, 4 * stallTime, errStalled},
		{"slowly", 2, stallTime - time.Second, time.Minute, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				conn := &slowConn{first: first, items: items, each: tt.items, every: tt.every}
				began := time.Now()
				got, err := pullFrom(t.Context(), conn, alone(t, "west").store, "east", emptyPart)
				require.LessOrEqual(t, time.Since(began), tt.ends)
				require.ErrorIs(t, err, tt.err)
				if tt.err == nil {
					require.Len(t, got.items, len(items))
				}
			})
		})
	}
}

// slowConn answers a pull with one message after another.
type slowConn struct {
	grpc.ClientConnInterface
	first *wire.PullResponse
	items []item
	each  int
	every time.Duration
}

func (c *slowConn) NewStream(ctx context.Context, _ *grpc.StreamDesc, _ string, _ ...grpc.CallOption) (grpc.ClientStream, error) {
	return &slowStream{ctx: ctx, conn: c}, nil
}

type slowStream struct {
	grpc.ClientStream
	ctx  context.Context
	conn *slowConn
	sent int
	came bool
}

func (*slowStream) SendMsg(any) error { return nil }
func (*slowStream) CloseSend() error  { return nil }

func (s *slowStream) RecvMsg(m any) error {
	into := m.(*wire.PullResponse)
	if s.came && s.conn.each > 0 && s.sent == len(s.conn.items) {
		return io.EOF
	}
	select {
	case <-s.ctx.Done():
		return s.ctx.Err()
	case <-time.After(s.conn.every):
	}
	if !s.came {
		s.came = true
		into.Head, into.Buckets = s.conn.first.Head, s.conn.first.Buckets
		return nil
	}
	for range s.conn.each {
		it := s.conn.items[s.sent]
		into.Items = append(into.Items, &wire.Item{Key: it.key, Value: it.value})
		s.sent++
	}
	return nil
}
