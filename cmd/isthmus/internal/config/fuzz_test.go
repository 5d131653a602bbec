package config

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/gossip/replica"
)

// FuzzParse: any text gives either a configuration whose parts are in bounds
// or problems of one line each, in order.
func FuzzParse(f *testing.F) {
	f.Add([]byte(whole))
	f.Add([]byte(strings.Join(base, "\n")))
	f.Add([]byte("cluster: &a [*a]\n"))
	f.Add([]byte("? {a: b}\n: c\n"))
	f.Add([]byte("cluster: !!binary x\ntls: !!map {}\n"))
	f.Add([]byte("locality: \"a\\nb\"\n\"x\\u2028y\": 1\n"))
	f.Add(after("routing:\n  distribute: [{from: a, to: {a/*: 80, \"b.[\": 20}}]\n  services: [{match: a/*, failover: []}]\nhealth: {interval: 1s, timeout: 1s}"))
	f.Add(after("routing: {failover: [{from: a, to: [a]}], distribute: [{to: {? [] : 1}}]}"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := Parse("w.yaml", text)
		if err == nil {
			require.NotEmpty(t, c.Cluster)
			require.NoError(t, c.Locality.Validate())
			require.Empty(t, c.Routing.Validate())
			require.NoError(t, c.Health.Validate())
			routing, err := c.Routing.Encode()
			require.NoError(t, err)
			require.LessOrEqual(t, len(routing), replica.MaxRouting)
			for _, s := range c.GatewaySets() {
				for _, g := range s.Gateways {
					require.NotEqual(t, len(g.Addresses) > 0, g.Hostname != "")
				}
			}
			return
		}
		var problems Problems
		require.True(t, errors.As(err, &problems))
		require.NotEmpty(t, problems)
		last := 0
		for _, p := range problems {
			require.GreaterOrEqual(t, p.Line, last)
			require.NotContains(t, p.Error(), "\n")
			last = p.Line
		}
	})
}
