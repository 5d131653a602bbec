package locality_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/plugin/isthmus/locality"
)

func TestPattern(t *testing.T) {
	tests := []struct {
		pattern, err      string
		matches, mismatch []string
	}{
		{pattern: "*", matches: []string{"", "a", "a/b", "a/b/c"}},
		{pattern: "a", matches: []string{"a", "a/b", "a/b/c"}, mismatch: []string{"", "b", "aa/b"}},
		{pattern: "a/*", matches: []string{"a", "a/b", "a/b/c"}, mismatch: []string{"", "b/a"}},
		{pattern: "a/b", matches: []string{"a/b", "a/b/c"}, mismatch: []string{"a", "a/c"}},
		{pattern: "a/b/*", matches: []string{"a/b", "a/b/c"}, mismatch: []string{"a", "a/c/b"}},
		{pattern: "a/b/c", matches: []string{"a/b/c"}, mismatch: []string{"a/b", "a/b/d", "a"}},
		{pattern: "", err: "has an empty segment: want *, REGION/*, REGION/ZONE/* or REGION/ZONE/SUBZONE"},
		{pattern: "a//c", err: "has an empty segment"},
		{pattern: "a/", err: "has an empty segment"},
		{pattern: "us-*", err: `segment "us-*": a wildcard is a whole segment`},
		{pattern: "*/a", err: "has a wildcard before the last segment"},
		{pattern: "a/*/c", err: "has a wildcard before the last segment"},
		{pattern: "*/*", err: "has a wildcard before the last segment"},
		{pattern: "a/b/c/*", err: "has 4 segments"},
		{pattern: "a/b/c/d", err: "has 4 segments"},
		{pattern: "a/b c", err: "wants letters, digits"},
	}
	for _, tc := range tests {
		t.Run(tc.pattern, func(t *testing.T) {
			p, err := locality.ParsePattern(tc.pattern)
			if tc.err != "" {
				require.ErrorContains(t, err, tc.err)
				return
			}
			require.NoError(t, err)
			for _, text := range append(tc.matches, tc.mismatch...) {
				l, err := discovery.ParseLocality(text)
				require.NoError(t, err)
				require.Equal(t, strings.Contains(","+strings.Join(tc.matches, ",")+",", ","+text+","), p.Match(l), text)
			}
		})
	}
}

func TestValidate(t *testing.T) {
	to := func(to map[string]uint32) []locality.Distribute { return []locality.Distribute{{From: "*", To: to}} }
	many := make([]string, locality.MaxFailover+1)
	for i := range many {
		many[i] = fmt.Sprint("r", i)
	}
	tests := []struct {
		name    string
		routing locality.Routing
		want    []string
	}{
		{"empty", locality.Routing{}, nil},
		{"all there is", locality.Routing{
			Rules: locality.Rules{Failover: failover, Distribute: eighty, Order: "latency", Affinity: "client"},
			Services: []locality.Override{
				{Match: "production/payment-*", Rules: locality.Rules{Order: "locality", Affinity: "none"}},
				{Match: "*/*", Rules: locality.Rules{Failover: []locality.Failover{}, Distribute: eighty}},
			},
		}, nil},
		{"nested patterns", locality.Routing{Rules: locality.Rules{Distribute: to(map[string]uint32{"*": 10, "a/*": 20, "a/b/*": 30, "a/b/c": 40})}}, nil},
		{"order and affinity", locality.Routing{Rules: locality.Rules{Order: "distance", Affinity: "cookie"}}, []string{
			`routing.order: "distance" is no order: want locality or latency`,
			`routing.affinity: "cookie" is no affinity: want none or client`,
		}},
		{"failover", locality.Routing{Rules: locality.Rules{Failover: []locality.Failover{
			{From: "a", To: []string{"b", "a", "b", "c/d", "", "x y"}},
			{From: "a", To: nil},
			{From: "*", To: many},
			{From: "", To: []string{"b"}},
		}}}, []string{
			`routing.failover[0].to[1]: "a" can't fail over to itself`,
			`routing.failover[0].to[2]: is never used: routing.failover[0].to[0] has the same`,
			`routing.failover[0].to[3]: "c/d": want a region, without zone and wildcard`,
			`routing.failover[0].to[4]: is empty: want a region`,
			`routing.failover[0].to[5]: locality "x y": segment "x y": wants letters, digits and inner '-', '_' or '.'`,
			`routing.failover[1].from: is never used: routing.failover[0] has the same`,
			`routing.failover[1].to: is empty: name the regions to fail over to`,
			`routing.failover[2].from: "*": want a region, without zone and wildcard`,
			`routing.failover[2].to: has 17 items, at most 16 are allowed`,
			`routing.failover[3].from: is empty: want a region`,
		}},
		{"distribute", locality.Routing{Rules: locality.Rules{Distribute: []locality.Distribute{
			{From: "a", To: map[string]uint32{"a/*": 100}},
			{From: "a/*", To: map[string]uint32{"a/*": 80, "us-*": 20}},
			{From: "b", To: nil},
			{From: "c/*/d", To: map[string]uint32{"c": 80, "d": 10}},
			{From: "d", To: map[string]uint32{"c": 100, "d": 0}},
			{From: "e", To: map[string]uint32{"c": 101, "d": 4294967295}},
			{From: "f", To: map[string]uint32{"c": 50, "c/*": 50}},
		}}}, []string{
			`routing.distribute[1].from: is never used: routing.distribute[0] has the same`,
			`routing.distribute[1].to["us-*"]: "us-*" segment "us-*": a wildcard is a whole segment: want *, REGION/*, REGION/ZONE/* or REGION/ZONE/SUBZONE`,
			`routing.distribute[2].to: is empty: name the localities and their weights`,
			`routing.distribute[3].from: "c/*/d" has a wildcard before the last segment: want *, REGION/*, REGION/ZONE/* or REGION/ZONE/SUBZONE`,
			`routing.distribute[3].to: weights sum up to 90, want 100`,
			`routing.distribute[4].to["d"]: weight 0: want percent from 1 to 100; leave out what shall get nothing`,
			`routing.distribute[5].to["c"]: weight 101: want percent from 1 to 100; leave out what shall get nothing`,
			`routing.distribute[5].to["d"]: weight 4294967295: want percent from 1 to 100; leave out what shall get nothing`,
			`routing.distribute[6].to["c/*"]: is never used: routing.distribute[6].to["c"] has the same`,
		}},
		{"services", locality.Routing{Services: []locality.Override{
			{Match: "a/b", Rules: locality.Rules{Order: "x"}},
			{Match: "a"},
			{Match: ""},
			{Match: "/b"},
			{Match: "a/"},
			{Match: "a/b/c"},
			{Match: "A/b"},
			{Match: "a/b.c"},
			{Match: "a/b"},
			{Match: "a/-*"},
			{Match: "a/" + strings.Repeat("*", 64)},
			{Match: "c/d", Rules: locality.Rules{Distribute: to(map[string]uint32{"*": 1})}},
		}}, []string{
			`routing.services[0].order: "x" is no order: want locality or latency`,
			`routing.services[1].match: "a": want NAMESPACE/NAME, where * stands for any letters`,
			`routing.services[2].match: "": want NAMESPACE/NAME, where * stands for any letters`,
			`routing.services[3].match: "/b": want NAMESPACE/NAME, where * stands for any letters`,
			`routing.services[4].match: "a/": want NAMESPACE/NAME, where * stands for any letters`,
			`routing.services[5].match: "a/b/c": want NAMESPACE/NAME, where * stands for any letters`,
			`routing.services[6].match: "A" is not a lower-case DNS label (a-z, 0-9 and inner '-')`,
			`routing.services[7].match: "b.c" is not a lower-case DNS label (a-z, 0-9 and inner '-')`,
			`routing.services[8].match: is never used: routing.services[0] has the same`,
			`routing.services[9].match: "-*" is not a lower-case DNS label (a-z, 0-9 and inner '-')`,
			`routing.services[10].match: "` + strings.Repeat("*", 64) + `" has 64 octets, at most 63 are allowed`,
			`routing.services[11].distribute[0].to: weights sum up to 1, want 100`,
		}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			var got []string
			for _, wrong := range tc.routing.Validate() {
				got = append(got, wrong.Error())
			}
			require.Equal(t, tc.want, got)
			policies, err := locality.Compile(tc.routing)
			if len(tc.want) == 0 {
				require.NoError(t, err)
				return
			}
			require.Nil(t, policies)
			require.EqualError(t, err, strings.Join(tc.want, "\n"))
			var field locality.FieldError
			require.ErrorAs(t, err, &field)
			require.Equal(t, strings.Split(tc.want[0], ": ")[0], field.Path)
		})
	}
}

func TestValidateBounds(t *testing.T) {
	r := locality.Routing{
		Rules:    locality.Rules{Failover: make([]locality.Failover, locality.MaxRules+1), Distribute: make([]locality.Distribute, locality.MaxRules+1)},
		Services: make([]locality.Override, locality.MaxOverrides+1),
	}
	var text []string
	for _, wrong := range r.Validate() {
		text = append(text, wrong.Error())
	}
	require.Contains(t, text, "routing.failover: has 257 items, at most 256 are allowed")
	require.Contains(t, text, "routing.distribute: has 257 items, at most 256 are allowed")
	require.Contains(t, text, "routing.services: has 257 items, at most 256 are allowed")
}

// Which rules apply to a service is seen from what is decided by them.
func TestPoliciesFor(t *testing.T) {
	policies, err := locality.Compile(locality.Routing{
		Rules: locality.Rules{Order: locality.OrderLatency, Failover: failover},
		Services: []locality.Override{
			{Match: "production/payment-*", Rules: locality.Rules{Order: locality.OrderLocality}},
			{Match: "production/*", Rules: locality.Rules{Affinity: locality.AffinityClient}},
			{Match: "*-test/a*b*c", Rules: locality.Rules{Order: locality.OrderLocality, Failover: []locality.Failover{}}},
			{Match: "*/exact", Rules: locality.Rules{Distribute: eighty}},
		},
	})
	require.NoError(t, err)
	tests := []struct {
		key  discovery.Key
		want string
	}{
		{"payment-service.production", "failover"},
		{"payment-.production", "failover"},
		{"payments.production", "latency affine"},
		{"payment-service.staging", "latency"},
		{"abc.x-test", "other"},
		{"a-xx-b-b-c.x-test", "other"},
		{"a-b.x-test", "latency"},
		{"abc.test", "latency"},
		{"exact.anywhere", "distribute"},
		{"exactly.anywhere", "latency"},
		{"exact.production", "latency affine"},
		{"nothing", "latency"},
	}
	for _, tc := range tests {
		t.Run(string(tc.key), func(t *testing.T) {
			plan := locality.Decide(viewer, policies.For(tc.key), []locality.Candidate{read(t, "c us-central1/z 1/1 rtt=3ms")})
			got := plan.Verdicts[0].Tier.String()
			if plan.Affine() {
				got += " affine"
			}
			require.Equal(t, tc.want, got)
			require.Zero(t, testing.AllocsPerRun(100, func() { policies.For(tc.key) }))
		})
	}
	require.Equal(t, locality.Policy{}, (*locality.Policies)(nil).For("a.b"), "no policy is the default one")
}

// Of nested patterns the most specific one counts, on both sides.
func TestMostSpecific(t *testing.T) {
	policy := policyOf(t, locality.Rules{Distribute: []locality.Distribute{
		{From: "*", To: map[string]uint32{"us-east1": 100}},
		{From: "us-west1/*", To: map[string]uint32{"*": 10, "us-east1/*": 30, "us-east1/us-east1-b/*": 60}},
		{From: "us-west1/us-west1-b", To: map[string]uint32{"us-west1": 100}},
	}})
	plan := locality.Decide(viewer, policy, readAll(t, "a us-east1/us-east1-b 1/1\nb us-east1/us-east1-c 1/1\nc us-east1/us-east1-d 2/2\nd us-central1 9/9\ne - 1/1"))
	require.InDeltaSlice(t, []float64{.6, .1, .2, .09, .01}, shares(plan), 1e-12)
}

// What is compiled doesn't change when what it was compiled from does.
func TestCompileClones(t *testing.T) {
	to := []string{"us-central1"}
	weights := map[string]uint32{"us-central1": 100}
	rules := locality.Rules{Failover: []locality.Failover{{From: "us-west1", To: to}}}
	policy := policyOf(t, rules)
	spread := policyOf(t, locality.Rules{Distribute: []locality.Distribute{{From: "*", To: weights}}})
	to[0], weights["us-central1"] = "x", 1
	candidates := readAll(t, "a us-central1/b 1/1\nb us-east1/c 1/1")
	require.Equal(t, locality.TierFailover, locality.Decide(viewer, policy, candidates).Verdicts[0].Tier)
	require.Equal(t, "us-central1: 100", locality.Decide(viewer, spread, candidates).Verdicts[0].Detail)
}
