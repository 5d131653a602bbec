package replica

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/discovery"
)

// TestEqualListsAreShared: what most services have in common is in memory once,
// and nothing else is taken for it.
func TestEqualListsAreShared(t *testing.T) {
	decode := func(s *discovery.Service) *discovery.Service {
		value, err := encodeService(s)
		require.NoError(t, err)
		got, err := decodeService(s.Key(), value)
		require.NoError(t, err)
		require.Equal(t, s, got)
		return got
	}
	a, b := decode(service("one", 2)), decode(service("two", 2))
	require.Same(t, &a.Ports[0], &b.Ports[0])
	require.Same(t, &a.Counts[0], &b.Counts[0])
	require.NotSame(t, &a.Counts[0], &decode(service("three", 1)).Counts[0])

	none := service("none", 2)
	none.Counts = append(none.Counts, discovery.ZoneCount{})
	decode(service("none", 2))
	decode(none)
	long := service("long", 2)
	for i := range 2 * sharedLen {
		long.Ports = append(long.Ports, discovery.Port{Name: fmt.Sprint("p", i), Protocol: discovery.UDP, Port: 53})
	}
	decode(long)
}

// TestCommonsAreBounded: a cluster whose services have nothing in common fills
// no memory.
func TestCommonsAreBounded(t *testing.T) {
	c := &commons{}
	for i := range 3 * maxCommons {
		c.text(fmt.Sprint(i))
		c.portList(portList{{Port: uint16(i), Protocol: discovery.TCP}})
		c.countList(counts{{Total: uint32(i)}})
	}
	require.LessOrEqual(t, len(c.strings), maxCommons)
	require.LessOrEqual(t, len(c.ports), maxCommons)
	require.LessOrEqual(t, len(c.counts), maxCommons)
}

// BenchmarkDecodeService is one record of a usual service.
func BenchmarkDecodeService(b *testing.B) {
	s := service("user-service", 2)
	value, err := encodeService(s)
	require.NoError(b, err)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := decodeService(s.Key(), value); err != nil {
			b.Fatal(err)
		}
	}
}
