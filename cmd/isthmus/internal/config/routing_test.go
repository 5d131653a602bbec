package config

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/discovery/probe"
	"github.com/isthmus-dns/isthmus/plugin/isthmus/locality"
)

// after is base with more text; its first line is line 5.
func after(text string) []byte { return []byte(strings.Join(base, "\n") + "\n" + text + "\n") }

func TestRouting(t *testing.T) {
	c, err := Parse("watcher.yaml", after(`routing:
  failover: [{from: us-west1, to: [us-central1, us-east1]}]
  distribute:
    - {from: "us-west1/*", to: {"us-west1/*": 80, "us-central1/*": 20}}
  order: latency
  affinity: client
  services:
    - {match: "production/payment-*", order: locality, affinity: none}
    - match: "*/batch"
      failover: []
      distribute: [{from: "*", to: {us-east1: 100}}]
health: {interval: 2s, timeout: 500ms, unhealthy: 4, healthy: 1}`))
	require.NoError(t, err)
	require.Equal(t, locality.Routing{
		Rules: locality.Rules{
			Failover:   []locality.Failover{{From: "us-west1", To: []string{"us-central1", "us-east1"}}},
			Distribute: []locality.Distribute{{From: "us-west1/*", To: map[string]uint32{"us-west1/*": 80, "us-central1/*": 20}}},
			Order:      locality.OrderLatency, Affinity: locality.AffinityClient,
		},
		Services: []locality.Override{
			{Match: "production/payment-*", Rules: locality.Rules{Order: locality.OrderLocality, Affinity: locality.AffinityNone}},
			{Match: "*/batch", Rules: locality.Rules{
				Failover:   []locality.Failover{}, // none, where nil would be those above
				Distribute: []locality.Distribute{{From: "*", To: map[string]uint32{"us-east1": 100}}},
			}},
		},
	}, c.Routing)
	require.Equal(t, probe.Health{Interval: 2 * time.Second, Timeout: 500 * time.Millisecond, Unhealthy: 4, Healthy: 1}, c.Health)

	text, err := c.Routing.Encode()
	require.NoError(t, err)
	told, err := locality.DecodeRouting(text)
	require.NoError(t, err)
	require.Equal(t, c.Routing, told, "what agents are told")
}

// TestRoutingOfNothing: all ways of saying nothing are the default.
func TestRoutingOfNothing(t *testing.T) {
	for _, text := range []string{
		"routing:", "routing: {}", "routing: {failover: [], distribute: []}", "routing:\n  failover:\n  services:", "health:", "health: {interval: 5s}",
	} {
		c, err := Parse("watcher.yaml", after(text))
		require.NoError(t, err, text)
		require.Equal(t, locality.Routing{}, c.Routing, text)
		require.Equal(t, probe.DefaultHealth(), c.Health, text)
	}
}

func TestRoutingMistakes(t *testing.T) {
	for _, tt := range []struct {
		name string
		text string // lines that follow base
		want string // one line each
	}{
		{"no mapping", "routing: latency", `watcher.yaml:5: routing: want fields, got the text "latency"`},
		{"unknown field", "routing:\n  failovr: []", `watcher.yaml:6: unknown field "failovr" in routing: did you mean "failover"?`},
		{"unknown field, none near", "routing:\n  weights: []", `watcher.yaml:6: unknown field "weights" in routing: want one of failover, distribute, order, affinity, services`},
		{"unknown order", "routing:\n  order: latncy", `watcher.yaml:6: routing.order: unknown value "latncy": did you mean "latency"?`},
		{"unknown order, none near", "routing:\n  order: random", `watcher.yaml:6: routing.order: unknown value "random": want one of locality, latency`},
		{"unknown affinity", "routing: {affinity: clients}", `watcher.yaml:5: routing.affinity: unknown value "clients": did you mean "client"?`},
		{"affinity of nothing", "routing: {affinity: }", `watcher.yaml:5: routing.affinity: want one of none, client, got nothing: give a value or remove the field`},
		{"alias", "routing:\n  failover: &f []\n  distribute: *f", `watcher.yaml:7: routing.distribute: alias *f is not supported: write the value out`},
		{"given twice", "routing:\n  order: latency\n  order: locality", `watcher.yaml:7: field "order" is already given in line 6: keep one`},

		{"failover: Istio's form", "routing:\n  failover:\n  - {from: a, to: b}", `watcher.yaml:7: routing.failover[0].to: want a list, got the text "b": write to: [...]`},
		{"failover is no list", "routing:\n  failover: {from: a, to: [b]}", `watcher.yaml:6: routing.failover: want a list, got fields: write failover: [...]`},
		{"failover without from", "routing:\n  failover:\n  - to: [b]", `watcher.yaml:7: routing.failover[0].from is missing: add from: REGION`},
		{"failover without to", "routing:\n  failover:\n  - from: a", `watcher.yaml:7: routing.failover[0].to is missing: add to: [REGION, ...]`},
		{"failover misspelt", "routing:\n  failover:\n  - form: a\n    to: [b]", `watcher.yaml:7: unknown field "form" in routing.failover[0]: did you mean "from"?`},
		{"failover to none", "routing:\n  failover:\n  - from: a\n    to: []", `watcher.yaml:8: routing.failover[0].to: is empty: name the regions to fail over to`},
		{"failover to itself", "routing:\n  failover:\n  - from: a\n    to:\n    - b\n    - a", `watcher.yaml:10: routing.failover[0].to[1]: "a" can't fail over to itself`},
		{"failover of a zone", "routing:\n  failover:\n  - from: a/b\n    to: [c]", `watcher.yaml:7: routing.failover[0].from: "a/b": want a region, without zone and wildcard`},
		{"failover twice", "routing:\n  failover:\n  - {from: a, to: [b]}\n  - {from: a, to: [c]}", `watcher.yaml:8: routing.failover[1].from: is never used: routing.failover[0] has the same`},
		{"failover to a number", "routing:\n  failover:\n  - {from: a, to: [1]}", `watcher.yaml:7: routing.failover[0].to[0]: want a text, got the number 1: write "1" in quotes`},

		{"distribute pattern", "routing:\n  distribute:\n  - from: a\n    to:\n      a/*: 80\n      us-*: 20", `watcher.yaml:10: routing.distribute[0].to["us-*"]: "us-*" segment "us-*": a wildcard is a whole segment: want *, REGION/*, REGION/ZONE/* or REGION/ZONE/SUBZONE`},
		{"distribute sum", "routing:\n  distribute:\n  - from: a\n    to: {a: 80, b: 10}", `watcher.yaml:8: routing.distribute[0].to: weights sum up to 90, want 100`},
		{"distribute weight of 0", "routing:\n  distribute:\n  - from: a\n    to:\n      a: 100\n      b.c: 0", `watcher.yaml:10: routing.distribute[0].to["b.c"]: weight 0: want percent from 1 to 100; leave out what shall get nothing`},
		{"distribute weight with a unit", "routing:\n  distribute:\n  - from: a\n    to: {a: 100%}", `watcher.yaml:8: routing.distribute[0].to["a"]: want percent from 1 to 100, got the text "100%"`},
		{"distribute weight below 0", "routing:\n  distribute:\n  - from: a\n    to: {a: -1}", `watcher.yaml:8: routing.distribute[0].to["a"]: want percent from 1 to 100, got -1`},
		{"distribute weight of half", "routing:\n  distribute:\n  - from: a\n    to: {a: 99.5, b: 0.5}", "watcher.yaml:8: routing.distribute[0].to[\"a\"]: want percent from 1 to 100, got the fraction 99.5\n" +
			`watcher.yaml:8: routing.distribute[0].to["b"]: want percent from 1 to 100, got the fraction 0.5`},
		{"distribute to a list", "routing:\n  distribute:\n  - from: a\n    to: [a, b]", `watcher.yaml:8: routing.distribute[0].to: want fields as in {"us-west1/*": 80, "us-central1/*": 20}, got a list`},
		{"distribute to one pattern twice", "routing:\n  distribute:\n  - from: a\n    to:\n      a: 50\n      a/*: 50", `watcher.yaml:10: routing.distribute[0].to["a/*"]: is never used: routing.distribute[0].to["a"] has the same`},
		{"distribute to one key twice", "routing:\n  distribute:\n  - from: a\n    to:\n      a: 50\n      a: 50", `watcher.yaml:10: field "a" is already given in line 9: keep one`},
		{"distribute without from", "routing:\n  distribute:\n  - to: {a: 100}", `watcher.yaml:7: routing.distribute[0].from is missing: add from: "REGION/*"`},
		{"distribute without all", "routing:\n  distribute:\n  -", `watcher.yaml:7: routing.distribute[0].from is missing: add from: "REGION/*"` + "\n" +
			`watcher.yaml:7: routing.distribute[0].to is missing: add to: {"REGION/*": PERCENT, ...}`},
		{"distribute to nothing", "routing:\n  distribute:\n  - from: a\n    to:", `watcher.yaml:8: routing.distribute[0].to: is empty: name the localities and their weights`},
		{"distribute, star without quotes", "routing:\n  distribute:\n  - {from: *, to: {a: 100}}", "watcher.yaml:7: not YAML: did not find expected alphabetic or numeric character"},

		{"service without match", "routing:\n  services:\n  - order: latency", `watcher.yaml:7: routing.services[0].match is missing: add match: NAMESPACE/NAME, where * stands for any letters`},
		{"service of no namespace", "routing:\n  services:\n  - match: payment", `watcher.yaml:7: routing.services[0].match: "payment": want NAMESPACE/NAME, where * stands for any letters`},
		{"service twice", "routing:\n  services:\n  - match: a/b\n  - match: a/b\n    order: latency", `watcher.yaml:8: routing.services[1].match: is never used: routing.services[0] has the same`},
		{"service in a service", "routing:\n  services:\n  - match: a/b\n    services: []", `watcher.yaml:8: unknown field "services" in routing.services[0]: want one of match, failover, distribute, order, affinity`},
		{"service, rules of nothing", "routing:\n  services:\n  - match: a/b\n    failover:", `watcher.yaml:8: routing.services[0].failover: want a list, got nothing: write [] for no rules, or remove the field to keep those of routing`},
		{"service, deep", "routing:\n  services:\n  - match: a/b\n  - match: c/d\n    distribute:\n    - from: a\n      to: {b: 70}", `watcher.yaml:11: routing.services[1].distribute[0].to: weights sum up to 70, want 100`},
		{"services is no list", "routing:\n  services: {match: a/b}", `watcher.yaml:6: routing.services: want a list, got fields: write services: [...]`},
		{"service is a text", "routing:\n  services: [a/b]", `watcher.yaml:6: routing.services[0]: want fields, got the text "a/b"`},

		{
			"several, and nothing twice", "routing:\n  failover:\n  - {from: a, to: [a]}\n  - {fro: a, to: [b, c/d]}\n  order: near\n  services:\n  - {match: 5, affinity: none}\nhealth: {interval: 0s}",
			`watcher.yaml:7: routing.failover[0].to[0]: "a" can't fail over to itself
watcher.yaml:8: unknown field "fro" in routing.failover[1]: did you mean "from"?
watcher.yaml:8: routing.failover[1].to[1]: "c/d": want a region, without zone and wildcard
watcher.yaml:9: routing.order: unknown value "near": want one of locality, latency
watcher.yaml:11: routing.services[0].match: want a text, got the number 5: write "5" in quotes
watcher.yaml:12: health.interval: want a time like 5s or 500ms, got "0s"`,
		},

		{"health, unknown", "health:\n  intervall: 5s", `watcher.yaml:6: unknown field "intervall" in health: did you mean "interval"?`},
		{"health, no unit", "health: {interval: 5}", `watcher.yaml:5: health.interval: want a time like 5s or 500ms, got "5"`},
		{"health, too often", "health:\n  interval: 5ms\n  timeout: 1ms", `watcher.yaml:6: health.interval: 5ms: want 100ms to 1h0m0s`},
		{"health, timeout above the interval", "health:\n  interval: 2s\n  timeout: 3s", `watcher.yaml:7: health.timeout: 3s: want more than 0 and at most the interval, 2s`},
		{"health, default timeout above the interval", "health:\n  interval: 1s", `watcher.yaml:5: health.timeout: 2s: want more than 0 and at most the interval, 1s`},
		{"health, promise", "health:\n  timeout: 5s", `watcher.yaml:6: health.timeout: 5s is too long for 3 checks to fail within 5s × 3 + 1s`},
		{"health, threshold", "health: {unhealthy: 0, healthy: 101}", `watcher.yaml:5: health.unhealthy: want a number from 1 to 100, got 0
watcher.yaml:5: health.healthy: want a number from 1 to 100, got 101`},
		{"health, a broken field", "health: {interval: [], timeout: 9s}", `watcher.yaml:5: health.interval: want a time like 5s, got a list
watcher.yaml:5: health.timeout: 9s: want more than 0 and at most the interval, 5s`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse("watcher.yaml", after(tt.text))
			require.EqualError(t, err, tt.want)
		})
	}
}

// TestRoutingFitsAMessage: many rules, each in bounds, may be more than agents
// take.
func TestRoutingFitsAMessage(t *testing.T) {
	region := strings.Repeat("r", 55)
	var text strings.Builder
	text.WriteString("routing:\n  failover:\n")
	for i := range locality.MaxRules {
		fmt.Fprintf(&text, "  - {from: %s%d, to: [a%s, b%s, c%s, d%s, e%s]}\n", region, i, region, region, region, region, region)
	}
	_, err := Parse("watcher.yaml", after(text.String()))
	require.ErrorContains(t, err, "watcher.yaml:6: routing: takes ")
	require.ErrorContains(t, err, " octets when agents are told it, at most 65536 are allowed: give fewer rules")
}

func TestTooManyRules(t *testing.T) {
	_, err := Parse("watcher.yaml", after("routing:\n  services: ["+strings.Repeat("{match: a/b}, ", locality.MaxOverrides+1)+"]"))
	require.EqualError(t, err, "watcher.yaml:6: routing.services: has 257 items, at most 256 are allowed")
}
