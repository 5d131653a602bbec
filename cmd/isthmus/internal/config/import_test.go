package config

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/gossip/replica"
)

func TestImport(t *testing.T) {
	parse := func(text string) *Config {
		c, err := Parse("watcher.yaml", []byte(strings.Join(base, "\n")+"\n"+text))
		require.NoError(t, err)
		return c
	}
	c := parse("import: {}\n")
	require.Equal(t, replica.Import{}, c.Import)
	require.Equal(t, 24*time.Hour, c.Forget)
	c = parse(`forget: 36h30m
import:
  clusters: {allow: ["*"], deny: [test-*]}
  rules:
    - {clusters: ["west*"], namespaces: [payments, "shop-*"], services: 500, octets: 4MiB, aliases: false}
    - {clusters: [east], octets: 4096}
`)
	require.Equal(t, 36*time.Hour+30*time.Minute, c.Forget)
	require.Equal(t, replica.Import{
		Allow: []string{"*"}, Deny: []string{"test-*"},
		Rules: []replica.ImportRule{
			{Clusters: []string{"west*"}, Namespaces: []string{"payments", "shop-*"}, Services: 500, Octets: 4 << 20, NoAliases: true},
			{Clusters: []string{"east"}, Octets: 4096},
		},
	}, c.Import)
	require.NoError(t, c.Import.Validate())
}
