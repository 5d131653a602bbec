package cluster

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/gossip/trust"
)

// watcherYAML: names of files are relative to it. Each cluster has a region of
// its own, so that none is nearer to another than the rest.
const watcherYAML = `clusterset: %[1]s
cluster: %[2]s
locality: region-%[2]s/zone-a
source:
  %[7]s
gateways:
  - name: default
    addresses: [%[3]s]
    port: 8080
    check: {type: none}
gossip: {listen: "%[4]s", advertise: "%[4]s", join: [%[5]s]}
tls: {cert: watcher.crt, key: watcher.key, ca: ca.crt}
state: %[8]s
http: %[6]s
`

// corefile: names of files are relative to the root plugin's folder.
const corefile = `global:%[1]s {%[6]s
    root %[2]s
    bind 127.0.0.1
    bufsize 1232
    errors
    ready %[3]s
    isthmus {
        watcher %[4]s
        tls agent.crt agent.key ca.crt
        node node-%[5]s
        snapshot snapshot
    }
}
`

func (c *Cluster) writeFiles(join []string) {
	require.NoError(c.t, os.MkdirAll(filepath.Join(c.Dir, "manifests"), 0o755))
	for _, role := range []trust.Role{trust.Watcher, trust.Agent} {
		Issue(c.t, c.Authority, trust.ID{Clusterset: Name, Cluster: c.Name, Role: role}, filepath.Join(c.Dir, string(role)))
	}
	var roots []byte
	for _, a := range c.Trusts {
		roots = append(roots, a.CertPEM()...)
	}
	require.NoError(c.t, os.WriteFile(filepath.Join(c.Dir, "ca.crt"), roots, 0o600))
	port := c.DNS[strings.LastIndexByte(c.DNS, ':')+1:]
	debug := ""
	if c.Debug {
		debug = "\n    debug"
	}
	var watchers []string
	for _, w := range c.Watchers {
		watchers = append(watchers, w.Gossip)
		c.writeWatcher(w, join)
	}
	text := fmt.Sprintf(corefile, port, c.Dir, c.Ready, strings.Join(watchers, " "), c.Label, debug)
	require.NoError(c.t, os.WriteFile(c.Corefile(), []byte(text), 0o600))
}

// writeWatcher writes the configuration of one watcher, which joins the given
// ones and its cluster's others.
func (c *Cluster) writeWatcher(w *Watcher, join []string) {
	var seeds []string
	for _, seed := range join {
		seeds = append(seeds, `"`+seed+`"`)
	}
	for _, other := range c.Watchers {
		if other != w {
			seeds = append(seeds, `"`+other.Gossip+`"`)
		}
	}
	source := c.Source
	if source == "" {
		source = "manifests: {dir: manifests}"
	}
	yaml := fmt.Sprintf(watcherYAML, Name, c.Name, c.Gateway, w.Gossip, strings.Join(seeds, ", "), w.HTTP, source, w.state)
	require.NoError(c.t, os.WriteFile(w.config, []byte(yaml), 0o600))
}

// Rewrite replaces a text that stands once in the watcher's configuration, as an
// editor does that writes another file and renames it: the watcher may run.
func (c *Cluster) Rewrite(from, to string) (back func()) {
	c.t.Helper()
	text, err := os.ReadFile(c.ConfigFile())
	require.NoError(c.t, err)
	require.Equal(c.t, 1, strings.Count(string(text), from), "%s in %s", from, text)
	require.NoError(c.t, Replace(c.ConfigFile(), strings.Replace(string(text), from, to, 1)))
	return func() {
		c.t.Helper()
		require.NoError(c.t, Replace(c.ConfigFile(), string(text)))
	}
}
