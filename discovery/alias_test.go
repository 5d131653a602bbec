package discovery_test

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/isthmus-dns/isthmus/discovery"
)

func exported(since int64, namespace, name string, aliases ...string) *discovery.Service {
	s := service(namespace, name, 1, aliases...)
	s.ExportedAt = since
	return s
}

func put(table *discovery.Table, cluster string, services ...*discovery.Service) {
	table.Apply(cluster, discovery.Update{Whole: true, Services: services}, discovery.Version{Epoch: 1, Seq: 1})
}

func TestOldestExportHasTheAlias(t *testing.T) {
	table := discovery.NewTable()
	put(table, "evil", exported(300, "a", "a", "shop.global"))
	put(table, "east", exported(200, "shop", "web", "shop.global"))
	require.Equal(t, discovery.Key("web.shop"), table.Alias("shop.global").Key, "not the name that sorts first")
	put(table, "central", exported(0, "b", "b", "shop.global"))
	require.Equal(t, discovery.Key("web.shop"), table.Alias("shop.global").Key, "who tells no time comes last")
	put(table, "evil", exported(1, "a", "a", "shop.global"))
	require.Equal(t, discovery.Key("a.a"), table.Alias("shop.global").Key, "who lies about it comes first")
	put(table, "west", exported(400, "shop", "web", "shop.global"))
	table.Prefer("west")
	require.Equal(t, discovery.Key("web.shop"), table.Alias("shop.global").Key, "but not before our own")
	table.Drop("west")
	require.Equal(t, discovery.Key("a.a"), table.Alias("shop.global").Key)
	put(table, "east", exported(-5, "shop", "web"))
	table.Drop("evil")
	require.Equal(t, discovery.Key("b.b"), table.Alias("shop.global").Key)
	require.True(t, table.AliasBelow("global"))
	table.Drop("central")
	require.Nil(t, table.Alias("shop.global"))
	require.False(t, table.AliasBelow("global"))
}

// TestAliasOwnerDoesNotHangOnTheOrder: all nodes of a cluster have one owner
// for an alias, in whatever order the parts came, and whenever a node learned
// whose it is.
func TestAliasOwnerDoesNotHangOnTheOrder(t *testing.T) {
	names := []string{"a", "b", "c"}
	rapid.Check(t, func(t *rapid.T) {
		last := map[string][]*discovery.Service{}
		one := discovery.NewTable()
		own := rapid.SampledFrom(names).Draw(t, "own")
		prefer := rapid.IntRange(0, 8).Draw(t, "prefer")
		for step := range 8 {
			if step == prefer {
				one.Prefer(own)
			}
			cluster := rapid.SampledFrom(names).Draw(t, "cluster")
			var services []*discovery.Service
			for _, name := range names {
				s := exported(rapid.Int64Range(-1, 3).Draw(t, "since"), "ns", name)
				if rapid.Bool().Draw(t, "claims") {
					s.Aliases = []string{"x.global"}
				}
				services = append(services, s)
			}
			put(one, cluster, services...)
			last[cluster] = services
		}
		one.Prefer(own)
		other := discovery.NewTable()
		other.Prefer(own)
		for i := len(names) - 1; i >= 0; i-- {
			if services := last[names[i]]; services != nil {
				put(other, names[i], services...)
			}
		}
		a, b := one.Alias("x.global"), other.Alias("x.global")
		if a == nil || b == nil {
			require.Equal(t, a == nil, b == nil)
			return
		}
		require.Equal(t, b.Key, a.Key)
	})
}

// TestManyClaimsToOneAlias: a cluster whose services all claim one host costs
// no more than one whose services claim one each. Others' news wait for it.
func TestManyClaimsToOneAlias(t *testing.T) {
	const services = 5000
	cost := func(host func(i int) string) uint64 {
		var list []*discovery.Service
		for i := range services {
			list = append(list, exported(int64(i+1), "a", fmt.Sprint("s", i), host(i)))
		}
		table := discovery.NewTable()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		put(table, "evil", list...)
		require.NotNil(t, table.Alias(host(services-1)))
		table.Drop("evil")
		require.Nil(t, table.Alias(host(services-1)))
		require.False(t, table.AliasBelow("example"))
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc
	}
	each := cost(func(i int) string { return fmt.Sprint("host", i, ".example") })
	require.Less(t, cost(func(int) string { return "host.example" }), 2*each)
}
