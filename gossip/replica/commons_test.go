package replica

import (
	"fmt"
	"strings"
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

// TestHostileRecordsAreNotShared: what a record that is refused brings is neither
// taken for what another cluster's has, nor kept.
func TestHostileRecordsAreNotShared(t *testing.T) {
	victim := service("victim", 2)
	victim.Ports = []discovery.Port{{Name: "only-of-this-test", Protocol: discovery.TCP, Port: 4711}}
	hostile := service("hostile", 2)
	hostile.Ports = []discovery.Port{victim.Ports[0], {}}
	value, err := encodeService(hostile)
	require.NoError(t, err)
	_, err = decodeService(hostile.Key(), value)
	require.Error(t, err)

	value, err = encodeService(victim)
	require.NoError(t, err)
	got, err := decodeService(victim.Key(), value)
	require.NoError(t, err)
	require.Equal(t, victim, got)

	hostile.Ports = []discovery.Port{{Name: strings.Repeat("long", 2000), Protocol: discovery.TCP, Port: 1}}
	hostile.Counts = []discovery.ZoneCount{{Zone: strings.Repeat("long", 1000)}}
	value, err = encodeService(hostile)
	require.NoError(t, err)
	_, err = decodeService(hostile.Key(), value)
	require.Error(t, err)
	require.NotContains(t, common.ports, [sharedLen]discovery.Port{hostile.Ports[0]})
	require.NotContains(t, common.counts, [sharedLen]discovery.ZoneCount{hostile.Counts[0]})
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
