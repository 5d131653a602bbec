package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/gossip"
	"github.com/isthmus-dns/isthmus/gossip/trust"
	"github.com/isthmus-dns/isthmus/test/freeport"
)

// names is a Resolver: a name is at 127.0.0.1, or not there.
type names struct {
	mu    sync.Mutex
	there map[string]bool
	fails bool
	asked int
}

func (n *names) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked++
	switch {
	case n.fails:
		return nil, errors.New("no DNS today")
	case n.there[host]:
		return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
	}
	return nil, nil
}

func (n *names) set(host string, there bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.there[host] = there
}

func (n *names) fail(fails bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.fails = fails
}

// at is a target that names resolves to what listens at an address.
func at(host string, addr net.Addr) string {
	return net.JoinHostPort(host, strconv.Itoa(addr.(*net.TCPAddr).Port))
}

func TestSiblingsComeAndGo(t *testing.T) {
	prod := newAuthority(t, "prod")
	east := func(name string) *running {
		return start(t, Config{Name: name, Identity: identity(t, prod, "east", trust.Watcher)})
	}
	w1, w2 := east("w1.east"), east("w2.east")
	dns := &names{there: map[string]bool{"one": true}}
	w0 := start(t, Config{
		Name: "w0.east", Identity: w1.cfg.Identity, Resolver: dns,
		Siblings: []string{at("one", w1.Addr()), at("two", w2.Addr())},
	})
	w0.knows(t, "w1.east")
	require.Equal(t, 1.0, value(t, w0.metrics.siblings))
	require.Empty(t, w0.Sibling("w2.east"))

	west := start(t, Config{Name: "w0.west", Identity: identity(t, prod, "west", trust.Watcher)})
	meets := func(name string) bool {
		c, err := dial(t, west, gossip.Peer{Name: name, Addr: w0.Addr().String()})
		return err == nil && c.Close() == nil
	}
	// It comes, and is found because somebody wants it.
	dns.set("two", true)
	require.Eventually(t, func() bool { return meets("w2.east") }, patience, 50*time.Millisecond)
	require.Equal(t, 2.0, value(t, w0.metrics.siblings))
	// A DNS that is away takes nobody away.
	dns.fail(true)
	require.False(t, meets("w9.east"))
	require.Eventually(t, func() bool { return meets("w1.east") }, patience, 50*time.Millisecond)
	dns.fail(false)
	// One that has gone from DNS goes here.
	dns.set("one", false)
	require.Eventually(t, func() bool {
		meets("w9.east") // makes it look
		return w0.Sibling("w1.east") == ""
	}, patience, 50*time.Millisecond)
	// Another one gets the address of one that was.
	addr := w2.Addr().String()
	w2.stop()
	start(t, Config{Name: "w3.east", Listen: addr, Identity: w1.cfg.Identity})
	require.Eventually(t, func() bool { return meets("w3.east") }, patience, 50*time.Millisecond)
	require.Empty(t, w0.Sibling("w2.east"))
	require.Equal(t, addr, w0.Sibling("w3.east"))
}

// TestUnknownNamesAreLookedForAtTheirPace: anybody can name siblings that there
// are none of, and must not make us ask DNS and siblings all the time.
func TestUnknownNamesAreLookedForAtTheirPace(t *testing.T) {
	prod := newAuthority(t, "prod")
	dns := &names{there: map[string]bool{}}
	began := time.Now()
	w0 := start(t, Config{
		Name: "w0.east", Identity: identity(t, prod, "east", trust.Watcher), Resolver: dns, Siblings: []string{"one:1"},
	})
	const many = 200
	var all sync.WaitGroup
	var found, late atomic.Int32
	for i := range many {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			if _, ok := w0.siblings.find(ctx, fmt.Sprintf("w%d.east", i+1)); ok {
				found.Add(1)
			}
			if ctx.Err() != nil {
				late.Add(1)
			}
		})
		if i%20 == 0 {
			time.Sleep(50 * time.Millisecond)
		}
	}
	all.Wait()
	require.Zero(t, found.Load())
	require.Zero(t, late.Load(), "nobody waits longer than a look takes")
	dns.mu.Lock()
	defer dns.mu.Unlock()
	// One look at the start, one for each pause since, one that is under way.
	require.LessOrEqual(t, dns.asked, 2+int(time.Since(began)/lookPause))
}

// TestSiblingsAreOfOurCluster: who else answers at a sibling's address gets
// nothing handed on.
func TestSiblingsAreOfOurCluster(t *testing.T) {
	prod, other := newAuthority(t, "prod"), newAuthority(t, "prod")
	mute, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer mute.Close()
	west := start(t, Config{Name: "w1.west", Identity: identity(t, prod, "west", trust.Watcher)})
	stranger := start(t, Config{Name: "w2.east", Identity: identity(t, other, "east", trust.Watcher)})
	down := freeport.Addr(t)
	own := freeport.Addr(t)
	w0 := start(t, Config{
		Name: "w0.east", Listen: own, Identity: identity(t, prod, "east", trust.Watcher),
		Siblings: []string{own, west.Addr().String(), stranger.Addr().String(), mute.Addr().String(), down},
	})
	require.Eventually(t, func() bool {
		w0.siblings.mu.Lock()
		defer w0.siblings.mu.Unlock()
		bad := 0
		for _, k := range w0.siblings.known {
			if k.err != "" {
				bad++
			}
		}
		return bad == 4
	}, patience, time.Millisecond)
	require.Zero(t, value(t, w0.metrics.siblings))
	for _, want := range []string{"which is of another cluster", "does not chain to a trusted root", "connection refused"} {
		require.Contains(t, w0.logs.String(), want)
	}
	require.Zero(t, w0.refusals(t, refusedMember), "we are no stranger to ourselves")
}

func TestSiblingsAreValidated(t *testing.T) {
	id := identity(t, newAuthority(t, "prod"), "west", trust.Watcher)
	for _, bad := range []string{"", "peers", "peers:", ":7946", "peers:0", "peers:70000", "peers:gossip"} {
		c := Config{Name: "w0.west", Identity: id, Siblings: []string{bad}}
		require.ErrorContains(t, c.Validate(), "host:port", bad)
	}
	c := Config{Name: "w0.west", Identity: id, Siblings: []string{"peers:7946", "[2001:db8::1]:7946"}}
	require.NoError(t, c.Validate())
}

// TestSiblingAddressesAreBounded: a name may have any number of addresses.
func TestSiblingAddressesAreBounded(t *testing.T) {
	w0 := lone(t, newAuthority(t, "prod"), "w0.east", Limits{})
	var found []netip.AddrPort
	for i := range 1000 {
		found = append(found, netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 7946))
	}
	require.Len(t, w0.siblings.sift(found, true), maxSiblings)
	require.Len(t, w0.siblings.sift(found[500:], false), maxSiblings)
	require.Len(t, w0.siblings.known, maxSiblings)
}
