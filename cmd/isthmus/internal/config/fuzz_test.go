package config

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
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
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := Parse("w.yaml", text)
		if err == nil {
			require.NotEmpty(t, c.Cluster)
			require.NoError(t, c.Locality.Validate())
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
