package replica

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/gossip/replica/wire"
	"github.com/isthmus-dns/isthmus/gossip/trust"
)

// TestPatterns: a pattern takes what the regular expression takes in which each
// star is ".*".
func TestPatterns(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := rapid.StringMatching(`[ab*]{1,6}`).Draw(t, "pattern")
		s := rapid.StringMatching(`[ab]{0,8}`).Draw(t, "text")
		want := regexp.MustCompile("^" + strings.ReplaceAll(p, "*", ".*") + "$").MatchString(s)
		require.Equal(t, want, matches(p, s))
	})
	for _, p := range []string{"", "West", "a.b", "a_b", "ä", strings.Repeat("a", 64)} {
		require.Error(t, ValidPattern(p), p)
	}
	for _, p := range []string{"*", "west*", "*-1", "a*b*c", "us-west"} {
		require.NoError(t, ValidPattern(p), p)
	}
}

func TestWhichClustersAreAccepted(t *testing.T) {
	for _, tt := range []struct {
		name        string
		allow, deny []string
		want        string
	}{
		{"all by default", nil, nil, "east west-1 west-2"},
		{"only the allowed", []string{"west*"}, nil, "west-1 west-2"},
		{"not the denied", nil, []string{"west*"}, "east"},
		{"deny outranks allow", []string{"west*"}, []string{"west-2"}, "west-1"},
		{"nobody", []string{"*"}, []string{"*"}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			im := Import{Allow: tt.allow, Deny: tt.deny}
			var got []string
			for _, c := range []string{"east", "west-1", "west-2"} {
				if im.Accepts(c) {
					got = append(got, c)
				}
			}
			require.Equal(t, tt.want, strings.Join(got, " "))
		})
	}
}

// importing makes a watcher of west with rules.
func importing(t testing.TB, im Import) *Replica {
	r := alone(t, "west")
	require.NoError(t, r.SetImport(im))
	return r
}

func in(namespace, name string, since int64, aliases ...string) *discovery.Service {
	s := service(name, 1)
	s.Namespace, s.ExportedAt, s.Aliases = namespace, since, aliases
	return s
}

// names are what a table has of a cluster, in order of keys.
func names(table *discovery.Table, cluster string, from ...string) string {
	var got []string
	for _, key := range from {
		namespace, name, _ := strings.Cut(key, "/")
		if e := table.Lookup(discovery.MakeKey(namespace, name)); e != nil && e.Candidate(cluster) != nil {
			got = append(got, key)
		}
	}
	return strings.Join(got, " ")
}

func (r *Replica) refusals(reason string) float64 {
	m := &dto.Metric{}
	_ = r.metrics.refused.WithLabelValues(reason).Write(m) // fails only for what is no metric
	return m.GetCounter().GetValue()
}

// TestRulesDecideWhatIsAnswered: the part is held and passed on whole, and only
// what is accepted gets into the table.
func TestRulesDecideWhatIsAnswered(t *testing.T) {
	all := []string{"a/one", "a/two", "b/one", "b/two"}
	services := []*discovery.Service{in("a", "one", 4, "a.global"), in("a", "two", 3), in("b", "one", 2), in("b", "two", 0)}
	for _, tt := range []struct {
		name   string
		rule   ImportRule
		want   string
		reason string
		count  float64
	}{
		{"of another cluster", ImportRule{Clusters: []string{"south"}, Services: 1}, "a/one a/two b/one b/two", "quota", 0},
		{"namespaces", ImportRule{Namespaces: []string{"b*"}}, "b/one b/two", "namespace", 2},
		{"services: the oldest stay", ImportRule{Services: 2}, "a/two b/one", "quota", 2},
		{"services: as many as there are", ImportRule{Services: 4}, "a/one a/two b/one b/two", "quota", 0},
		{"both", ImportRule{Namespaces: []string{"a"}, Services: 1}, "a/two", "quota", 1},
		{"octets", ImportRule{Octets: 70}, "b/one", "quota", 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if len(tt.rule.Clusters) == 0 {
				tt.rule.Clusters = []string{"*"}
			}
			r := importing(t, Import{Rules: []ImportRule{tt.rule, {Clusters: []string{"*"}, NoAliases: true}}})
			o := owns(t, "east", &wire.Head{Epoch: 1, Seq: 1}, services...)
			bring(t, r, o.head, o.content)
			require.Equal(t, tt.want, names(r.config.Table, "east", all...))
			require.InDelta(t, tt.count, r.refusals(tt.reason), 0)
			h, part := r.store.get("east")
			require.Equal(t, h.root, part.root, "whole")
			if tt.rule.Clusters[0] == "south" {
				require.Nil(t, r.config.Table.Alias("a.global"), "the second rule")
				require.InDelta(t, 1, r.refusals("aliases"), 0)
			}
			own := owns(t, "west", &wire.Head{Epoch: 1, Seq: 1}, services...)
			bring(t, r, own.head, own.content)
			require.Equal(t, strings.Join(all, " "), names(r.config.Table, "west", all...), "rules are for others")
		})
	}
}

// TestDeniedClusterLeavesNothing: neither a message nor a digest of a cluster
// that is not imported makes us hold or ask for anything.
func TestDeniedClusterLeavesNothing(t *testing.T) {
	r := importing(t, Import{Deny: []string{"e*"}})
	o := owns(t, "east", &wire.Head{Epoch: 1, Seq: 1}, service("user", 1))
	msg, err := message(o.announcement())
	require.NoError(t, err)
	r.HandleMessage("x0.evil", msg)
	r.HandleDigest(digestOf(t, "e0.east", &wire.Digest{Cluster: "east", Epoch: 1, Seq: 1}))
	require.Empty(t, r.puller.wants)
	require.Empty(t, r.store.heads.all())
	require.InDelta(t, 1, r.refusals("denied"), 0)

	require.NoError(t, r.SetImport(Import{}))
	bring(t, r, o.head, o.content)
	require.Equal(t, 1, ready(r.config.Table, "user", "east"))
	require.NoError(t, r.SetImport(Import{Allow: []string{"central"}}))
	require.Equal(t, -1, ready(r.config.Table, "user", "east"), "at once")
	require.Empty(t, r.store.heads.all())
}

// TestTableFollowsRulesAndParts: whatever comes in whatever order, deltas,
// pulls or new rules, the table has just what the rules choose of the part.
func TestTableFollowsRulesAndParts(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		r := importing(t, Import{})
		r.store.limits.Aliases = rapid.IntRange(0, 6).Draw(rt, "alias limit")
		identity, err := trust.Insecure(trust.ID{Clusterset: "test", Cluster: "east", Role: trust.Watcher})
		require.NoError(rt, err)
		current, seq := emptyPart, uint64(0)
		for range rapid.IntRange(1, 12).Draw(rt, "steps") {
			if rapid.IntRange(0, 3).Draw(rt, "what") == 0 {
				require.NoError(rt, r.SetImport(drawRules(rt)))
			} else {
				seq++
				next, d := drawDelta(rt, current, seq)
				h, err := sign(identity, &wire.Head{Clusterset: "test", Cluster: "east", Epoch: 1, Seq: seq, Root: next.root[:], Items: uint32(next.items)})
				require.NoError(rt, err)
				if rapid.Bool().Draw(rt, "pull") {
					bring(t, r, h, next)
				} else {
					_, _, err := r.store.accept(&wire.Announcement{Head: h.signed, Delta: d})
					require.NoError(rt, err)
				}
				current = next
			}
			requireChosen(rt, r, current)
		}
	})
}

func drawRules(t *rapid.T) Import {
	patterns := func(what string) []string {
		return rapid.SampledFrom([][]string{nil, {"n0"}, {"n*"}, {"n0", "n1"}}).Draw(t, what)
	}
	return Import{Rules: []ImportRule{{
		Clusters: []string{"east"}, Namespaces: patterns("namespaces"), NoAliases: rapid.Bool().Draw(t, "aliases"),
		Services: rapid.IntRange(0, 5).Draw(t, "services"), Octets: rapid.SampledFrom([]int{0, 120, 250}).Draw(t, "octets"),
	}}}
}

func drawDelta(t *rapid.T, from *part, seq uint64) (*part, *wire.Delta) {
	d := &wire.Delta{BaseSeq: seq - 1}
	for range rapid.IntRange(1, 4).Draw(t, "changes") {
		key := fmt.Sprintf("n%d/s%d", rapid.IntRange(0, 2).Draw(t, "namespace"), rapid.IntRange(0, 3).Draw(t, "name"))
		namespace, name, _ := strings.Cut(key, "/")
		if rapid.IntRange(0, 2).Draw(t, "remove") == 0 {
			d.Removed = append(d.Removed, "s/"+key)
			continue
		}
		hosts := []string{name + ".global", "www." + name + ".global", name + ".example"}[:rapid.IntRange(0, 3).Draw(t, "aliases")]
		value, err := encodeService(in(namespace, name, rapid.Int64Range(0, 4).Draw(t, "since"), hosts...))
		require.NoError(t, err)
		d.Changed = append(d.Changed, &wire.Item{Key: "s/" + key, Value: value})
	}
	changed := map[string][]byte{}
	for _, it := range d.Changed {
		changed[it.Key] = it.Value
	}
	d.Changed = nil
	var items []item
	for key, value := range changed {
		d.Changed = append(d.Changed, &wire.Item{Key: key, Value: value})
		items = append(items, newItem(key, value))
	}
	return from.with(items, d.Removed), d
}

// requireChosen compares the table with what the rule chooses by itself.
func requireChosen(t *rapid.T, r *Replica, p *part) {
	rule := r.store.rule("east")
	chosen := rule.choose(p, r.store.limits.Aliases)
	want := 0
	for _, b := range p.buckets {
		for _, it := range b.all() {
			key, _ := parseServiceKey(it.key)
			e := r.config.Table.Lookup(key)
			if chosen.takes(it.key) != nil {
				require.True(t, e == nil || e.Candidate("east") == nil, it.key)
				continue
			}
			want++
			require.NotNil(t, e, it.key)
			got := *e.Candidate("east")
			s, err := decodeService(key, it.value)
			require.NoError(t, err)
			if chosen.aliases(it.key) != nil {
				s.Aliases = nil
			}
			require.Equal(t, *s, got)
		}
	}
	for _, c := range r.config.Table.Clusters() {
		require.Equal(t, want, c.Services)
	}
}

// TestAgentsApplyTheirWatchersRules: an agent has what its watcher has, also
// when the rules change, and from its own disk.
func TestAgentsApplyTheirWatchersRules(t *testing.T) {
	p, n := newPKI(t), &network{}
	west := n.start(t, p, "w0.west", "west")
	west.publisher.Update(whole("west", service("orders", 1)))
	west.lead(t, &counter{})
	east := n.start(t, p, "e0.east", "east")
	east.publisher.Update(whole("east", service("user", 3), in("secret", "vault", 1)))
	east.lead(t, &counter{})
	south := n.start(t, p, "s0.south", "south")
	south.publisher.Update(whole("south", service("user", 2)))
	south.lead(t, &counter{})
	eventually(t, "west", func() bool {
		return ready(west.config.Table, "user", "east") == 3 && ready(west.config.Table, "user", "south") == 2
	})

	dir, identity := t.TempDir(), p.identity("west", trust.Agent)
	s, stop := agent(t, identity, dir, west.peer.Addr)
	vault := func() bool { return s.Table().Lookup("vault.secret") != nil }
	eventually(t, "all", func() bool { return vault() && ready(s.Table(), "user", "south") == 2 && !s.Stale() })
	require.NoError(t, west.SetImport(Import{Deny: []string{"south"}, Rules: []ImportRule{{Clusters: []string{"*"}, Namespaces: []string{"production"}}}}))
	eventually(t, "less", func() bool { return !vault() && ready(s.Table(), "user", "south") == -1 })
	require.Equal(t, 3, ready(s.Table(), "user", "east"))
	stop()
	west.stop()
	s, stop = agent(t, identity, dir, west.peer.Addr)
	require.True(t, s.Table().Loaded())
	require.Equal(t, 3, ready(s.Table(), "user", "east"))
	require.False(t, vault(), "the copy on disk has the whole part, and the rules")
	require.Equal(t, -1, ready(s.Table(), "user", "south"))
	stop()
}

func FuzzImport(f *testing.F) {
	im := Import{Allow: []string{"*"}, Deny: []string{"a"}, Rules: []ImportRule{{Clusters: []string{"west*"}, Services: 5, Octets: 1 << 20}}}
	b, err := proto.Marshal(im.encode())
	require.NoError(f, err)
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		w := &wire.Import{}
		if proto.Unmarshal(b, w) != nil {
			return
		}
		im, err := decodeImport(w)
		if err != nil {
			return
		}
		require.NoError(t, im.Validate())
		again, err := decodeImport(im.encode())
		require.NoError(t, err)
		require.Equal(t, im.Accepts("west"), again.Accepts("west"))
		require.True(t, proto.Equal(im.encode(), again.encode()))
	})
}

// FuzzExportedAt: reading a record's time does not depend on the rest of it.
func FuzzExportedAt(f *testing.F) {
	b, err := encodeService(in("a", "b", 1700000000))
	require.NoError(f, err)
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) { require.Positive(t, exportedAt(b)) })
}

// TestAliasLimit: of a part with more alias hosts than one cluster may have,
// those of the services that were exported first are answered, and all services.
func TestAliasLimit(t *testing.T) {
	r := importing(t, Import{})
	r.store.limits.Aliases = 3
	identity, err := trust.Insecure(trust.ID{Clusterset: "test", Cluster: "east", Role: trust.Watcher})
	require.NoError(t, err)
	current := emptyPart
	publish := func(seq uint64, services ...*discovery.Service) {
		var items []item
		for _, s := range services {
			value, err := encodeService(s)
			require.NoError(t, err)
			items = append(items, newItem(serviceKey(s.Key()), value))
		}
		current = current.with(items, nil)
		h, err := sign(identity, &wire.Head{Clusterset: "test", Cluster: "east", Epoch: 1, Seq: seq, Root: current.root[:], Items: uint32(current.items)})
		require.NoError(t, err)
		bring(t, r, h, current)
	}
	table := r.config.Table
	publish(1, in("a", "late", 30, "late.global"), in("a", "early", 10, "early.global", "first.global"))
	require.NotNil(t, table.Alias("late.global"))
	publish(2, in("a", "middle", 20, "middle.global"))
	require.NotNil(t, table.Alias("early.global"))
	require.NotNil(t, table.Alias("middle.global"))
	require.Nil(t, table.Alias("late.global"), "its record did not change, but its place is another's now")
	require.NotNil(t, table.Lookup(discovery.MakeKey("a", "late")), "the service itself is answered for")
	require.Positive(t, r.refusals("limit"))
	publish(3, in("a", "middle", 20))
	require.NotNil(t, table.Alias("late.global"), "there is room again")
}
