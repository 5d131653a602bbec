package discovery_test

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/isthmus-dns/isthmus/discovery"
)

func service(namespace, name string, ready uint32, aliases ...string) *discovery.Service {
	return &discovery.Service{
		Namespace: namespace, Name: name, Kind: discovery.KindClusterIP, Aliases: aliases,
		Counts: []discovery.ZoneCount{{Ready: ready, Total: ready}},
	}
}

func TestApplyAndLookup(t *testing.T) {
	table := discovery.NewTable()
	require.Nil(t, table.Lookup("user.production"))
	table.Apply("east", discovery.Update{Whole: true, Services: []*discovery.Service{service("production", "user", 3)}}, discovery.Version{Epoch: 1, Seq: 1})
	table.Apply("central", discovery.Update{Whole: true, Services: []*discovery.Service{service("production", "user", 1), service("apollo", "config", 1)}}, discovery.Version{Epoch: 1, Seq: 1})

	entry := table.Lookup("user.production")
	require.Len(t, entry.Candidates, 2)
	require.Equal(t, "central", entry.Candidates[0].Cluster, "by cluster name")
	require.EqualValues(t, 3, entry.Candidate("east").Ready())
	require.Nil(t, entry.Candidate("west"))
	require.True(t, table.Namespace("apollo"))

	table.Apply("central", discovery.Update{Whole: true, Services: []*discovery.Service{service("production", "user", 5)}}, discovery.Version{Epoch: 1, Seq: 2})
	require.Nil(t, table.Lookup("config.apollo"), "absence from a whole set is deletion")
	require.False(t, table.Namespace("apollo"))
	require.EqualValues(t, 5, table.Lookup("user.production").Candidate("central").Ready())
	require.EqualValues(t, 1, entry.Candidate("central").Ready(), "what was handed out stays as it was")

	table.Apply("east", discovery.Update{Removed: []discovery.Key{"user.production", "never.there"}}, discovery.Version{Epoch: 1, Seq: 2})
	require.Len(t, table.Lookup("user.production").Candidates, 1)
	table.Drop("central")
	require.Nil(t, table.Lookup("user.production"))
	require.Len(t, table.Clusters(), 1)
}

func TestRecordsPointerTellsOfClusterChangesOnly(t *testing.T) {
	table := discovery.NewTable()
	table.Apply("east", discovery.Update{Whole: true, Cluster: &discovery.Cluster{Name: "east"}}, discovery.Version{Epoch: 1, Seq: 1})
	before := table.Records()
	table.Apply("east", discovery.Update{Services: []*discovery.Service{service("a", "b", 1)}}, discovery.Version{Epoch: 1, Seq: 2})
	require.Same(t, before, table.Records())
	require.Equal(t, discovery.Version{Epoch: 1, Seq: 2}, table.Clusters()[0].Version)
	require.Equal(t, 1, table.Clusters()[0].Services)
	table.Apply("east", discovery.Update{Cluster: &discovery.Cluster{Name: "east", Network: "n"}}, discovery.Version{Epoch: 1, Seq: 3})
	require.NotSame(t, before, table.Records())
	require.Equal(t, "n", (*table.Records())[0].Network)
}

func TestAliases(t *testing.T) {
	table := discovery.NewTable()
	v := discovery.Version{Epoch: 1, Seq: 1}
	table.Apply("east", discovery.Update{Services: []*discovery.Service{service("b", "two", 1, "shop.global"), service("a", "one", 1, "shop.global", "one.global")}}, v)
	require.Equal(t, discovery.Key("one.a"), table.Alias("shop.global").Key, "the first name has it")
	table.Apply("east", discovery.Update{Services: []*discovery.Service{service("a", "one", 1, "one.global")}}, v)
	require.Equal(t, discovery.Key("two.b"), table.Alias("shop.global").Key, "the next claimant follows")
	table.Apply("west", discovery.Update{Services: []*discovery.Service{service("b", "two", 1, "shop.global")}}, v)
	table.Apply("east", discovery.Update{Removed: []discovery.Key{"two.b"}}, v)
	require.NotNil(t, table.Alias("shop.global"), "another cluster's record still claims it")
	table.Drop("west")
	require.Nil(t, table.Alias("shop.global"))
	require.NotNil(t, table.Alias("one.global"))
}

func TestAliasBelow(t *testing.T) {
	table := discovery.NewTable()
	v := discovery.Version{Epoch: 1, Seq: 1}
	require.False(t, table.AliasBelow("shop.example"))
	table.Apply("east", discovery.Update{Services: []*discovery.Service{
		service("a", "one", 1, "www.shop.example", "g.f.e.d.c.b.a.example"), service("a", "two", 1, "www.shop.example", "img.shop.example"),
	}}, v)
	for _, parent := range []string{"shop.example", "example", "f.e.d.c.b.a.example", "b.a.example"} {
		require.True(t, table.AliasBelow(parent), parent)
	}
	require.False(t, table.AliasBelow("www.shop.example"), "the alias itself")
	require.False(t, table.AliasBelow("a.example"), "six labels above the alias")
	require.False(t, table.AliasBelow(""))

	table.Apply("east", discovery.Update{Removed: []discovery.Key{"one.a"}}, v)
	require.True(t, table.AliasBelow("shop.example"), "two's aliases are still there")
	require.False(t, table.AliasBelow("b.a.example"))
	table.Apply("east", discovery.Update{Services: []*discovery.Service{service("a", "two", 1, "img.shop.example")}}, v)
	require.True(t, table.AliasBelow("shop.example"))
	table.Drop("east")
	require.False(t, table.AliasBelow("shop.example"))
	require.False(t, table.AliasBelow("example"))
}

// A name that stays is found by readers at any moment while the table grows to
// many times its size and shrinks again; an alias that moves from one service
// to another within an update is never seen to be away.
func TestReadersWhileTheTableChanges(t *testing.T) {
	table := discovery.NewTable()
	version := discovery.Version{Epoch: 1}
	apply := func(cluster string, u discovery.Update) {
		version.Seq++
		table.Apply(cluster, u, version)
	}
	long := strings.Repeat("n", discovery.MaxLabel)
	stays := []discovery.Key{"stays.here", discovery.MakeKey("here", long), discovery.MakeKey(long, long)}
	var staying []*discovery.Service
	for _, key := range stays {
		namespace, name := key.Split()
		staying = append(staying, service(namespace, name, 1))
	}
	apply("west", discovery.Update{Services: append(staying, service("here", "one", 1, "shop.example"))})

	var done atomic.Bool
	var lost atomic.Int64
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for !done.Load() {
				for _, key := range stays {
					if e := table.Lookup(key); e == nil || e.Key != key {
						lost.Add(1)
					}
				}
				if table.Alias("shop.example") == nil || !table.AliasBelow("example") || !table.Namespace("here") {
					lost.Add(1)
				}
			}
		})
	}
	const many = 2000
	for range 3 {
		u := discovery.Update{Whole: true}
		for i := range many {
			u.Services = append(u.Services, service("bulk", fmt.Sprint("service-", i), 1))
		}
		apply("east", u)
		entries := 0
		table.Walk(func(*discovery.Entry) bool { entries++; return true })
		require.Equal(t, many+len(stays)+1, entries)
		apply("west", discovery.Update{Services: []*discovery.Service{service("here", "one", 1), service("here", "two", 1, "shop.example")}})
		apply("west", discovery.Update{Services: []*discovery.Service{service("here", "one", 1, "shop.example")}, Removed: []discovery.Key{"two.here"}})
		apply("east", discovery.Update{Whole: true})
		apply("east", discovery.Update{Services: []*discovery.Service{service("bulk", "last", 1)}})
	}
	done.Store(true)
	readers.Wait()
	require.Zero(t, lost.Load())
	require.NotNil(t, table.Lookup("last.bulk"))
	require.Nil(t, table.Lookup("service-1.bulk"))
}

func TestMemoLivesWithTheEntry(t *testing.T) {
	table := discovery.NewTable()
	v := discovery.Version{Epoch: 1, Seq: 1}
	table.Apply("east", discovery.Update{Services: []*discovery.Service{service("a", "one", 1), service("a", "two", 1)}}, v)
	owner, other := new(int), new(int)
	one, two := table.Lookup("one.a"), table.Lookup("two.a")
	one.SetMemo(owner, "x")
	one.SetMemo(other, "y")
	one.SetMemo(owner, "z")
	two.SetMemo(owner, "two")
	require.Equal(t, "z", one.Memo(owner))
	require.Equal(t, "y", one.Memo(other))
	require.Nil(t, two.Memo(other))
	table.Apply("east", discovery.Update{Services: []*discovery.Service{service("a", "one", 2)}}, v)
	require.Nil(t, table.Lookup("one.a").Memo(owner), "a change starts anew")
	require.Equal(t, "two", table.Lookup("two.a").Memo(owner), "others keep theirs")
	for range 100 {
		two.SetMemo(new(int), 1)
	}
	require.Nil(t, two.Memo(owner), "memos are bounded; the oldest gives way")
}

// TestAnyHistoryEndsInTheSameTable compares the table after random updates
// with a map that was given the same.
func TestAnyHistoryEndsInTheSameTable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		table := discovery.NewTable()
		model := map[string]map[discovery.Key]uint32{}
		names := rapid.SampledFrom([]string{"a", "b", "c", "d"})
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			cluster := rapid.SampledFrom([]string{"x", "y", "z"}).Draw(t, "cluster")
			u := discovery.Update{Whole: rapid.Bool().Draw(t, "whole")}
			if u.Whole || model[cluster] == nil {
				if u.Whole {
					model[cluster] = map[discovery.Key]uint32{}
				} else if model[cluster] == nil {
					model[cluster] = map[discovery.Key]uint32{}
				}
			}
			seen := map[discovery.Key]bool{}
			for range rapid.IntRange(0, 4).Draw(t, "services") {
				s := service(names.Draw(t, "namespace"), names.Draw(t, "name"), rapid.Uint32Range(0, 9).Draw(t, "ready"))
				if !seen[s.Key()] {
					seen[s.Key()] = true
					u.Services = append(u.Services, s)
					model[cluster][s.Key()] = s.Ready()
				}
			}
			if key := discovery.MakeKey(names.Draw(t, "namespace"), names.Draw(t, "name")); !u.Whole && !seen[key] {
				u.Removed = append(u.Removed, key)
				delete(model[cluster], key)
			}
			table.Apply(cluster, u, discovery.Version{Epoch: 1, Seq: 1})
		}
		got := map[string]map[discovery.Key]uint32{}
		for cluster := range model {
			got[cluster] = map[discovery.Key]uint32{}
		}
		namespaces := map[string]bool{}
		table.Walk(func(e *discovery.Entry) bool {
			namespace, _ := e.Key.Split()
			namespaces[namespace] = true
			for _, c := range e.Candidates {
				got[c.Cluster][e.Key] = c.Service.Ready()
			}
			return true
		})
		require.Equal(t, model, got)
		for _, n := range []string{"a", "b", "c", "d"} {
			require.Equal(t, namespaces[n], table.Namespace(n))
		}
		for _, c := range table.Clusters() {
			require.Equal(t, len(model[c.Cluster.Name]), c.Services)
		}
	})
}

const large = 100_000

func largeTable() (*discovery.Table, []discovery.Key) {
	table := discovery.NewTable()
	u := discovery.Update{Whole: true, Cluster: &discovery.Cluster{Name: "east"}}
	keys := make([]discovery.Key, large)
	for i := range large {
		s := service(fmt.Sprintf("team-%d", i%500), fmt.Sprintf("service-%d", i), 3)
		u.Services = append(u.Services, s)
		keys[i] = s.Key()
	}
	table.Apply("east", u, discovery.Version{Epoch: 1, Seq: 1})
	return table, keys
}

func BenchmarkLookup(b *testing.B) {
	table, keys := largeTable()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if table.Lookup(keys[i%large]) == nil {
			b.Fatal("lost")
		}
	}
}

// BenchmarkLookupMap is what a plain Go map, which nobody could change, costs
// for the same keys.
func BenchmarkLookupMap(b *testing.B) {
	table, keys := largeTable()
	entries := make(map[discovery.Key]*discovery.Entry, large)
	table.Walk(func(e *discovery.Entry) bool {
		entries[e.Key] = e
		return true
	})
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if entries[keys[i%large]] == nil {
			b.Fatal("lost")
		}
	}
}

func BenchmarkLookupMissing(b *testing.B) {
	table, _ := largeTable()
	b.ReportAllocs()
	for b.Loop() {
		if table.Lookup("nobody.nowhere") != nil {
			b.Fatal("found")
		}
	}
}

// BenchmarkApplyOne changes one of 100,000 services.
func BenchmarkApplyOne(b *testing.B) {
	table, _ := largeTable()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		s := service(fmt.Sprintf("team-%d", i%500), fmt.Sprintf("service-%d", i%large), uint32(i))
		table.Apply("east", discovery.Update{Services: []*discovery.Service{s}}, discovery.Version{Epoch: 1, Seq: uint64(i)})
	}
}

// BenchmarkApplyWhole replaces all 100,000.
func BenchmarkApplyWhole(b *testing.B) {
	table, _ := largeTable()
	b.ReportAllocs()
	for b.Loop() {
		u := discovery.Update{Whole: true}
		for i := range large {
			u.Services = append(u.Services, service(fmt.Sprintf("team-%d", i%500), fmt.Sprintf("service-%d", i), 3))
		}
		table.Apply("east", u, discovery.Version{Epoch: 1, Seq: 1})
	}
}

func TestLookupAllocatesNothing(t *testing.T) {
	table := discovery.NewTable()
	table.Apply("east", discovery.Update{Services: []*discovery.Service{service("production", "user", 3)}}, discovery.Version{Epoch: 1, Seq: 1})
	name := "user.production.global."
	got := testing.AllocsPerRun(1000, func() {
		if table.Lookup(discovery.Key(name[:len("user.production")])) == nil || table.Namespace("nowhere") {
			t.Fatal("wrong")
		}
	})
	require.Zero(t, got)
}
