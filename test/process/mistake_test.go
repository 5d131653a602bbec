package process

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/gossip/trust"
	"github.com/isthmus-dns/isthmus/test/cluster"
	"github.com/isthmus-dns/isthmus/test/freeport"
)

// soon is how long a program may take to find that it can't start.
const soon = 20 * time.Second

// startWith runs a cluster's watcher with text of watcher.yaml replaced, to its
// end.
func startWith(t *testing.T, c *cluster.Cluster, from, to string) cluster.Result {
	t.Helper()
	edit(t, c.ConfigFile(), from, to)
	return cluster.Run(t, soon, "watch", "-c", c.ConfigFile())
}

// serveWith does the same with an agent and its Corefile.
func serveWith(t *testing.T, c *cluster.Cluster, from, to string) cluster.Result {
	t.Helper()
	edit(t, c.Corefile(), from, to)
	return cluster.Run(t, soon, "dns", "-conf", c.Corefile())
}

// edit replaces text in a file until the test ends.
func edit(t *testing.T, file, from, to string) {
	t.Helper()
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Contains(t, string(text), from)
	require.NoError(t, os.WriteFile(file, []byte(strings.Replace(string(text), from, to, 1)), 0o600))
	t.Cleanup(func() { require.NoError(t, os.WriteFile(file, text, 0o600)) })
}

// place is FILE:LINE of the first line of a file that holds a text; the file
// alone for the empty text.
func place(t *testing.T, file, text string) string {
	t.Helper()
	if text == "" {
		return file + ":"
	}
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	before, _, found := strings.Cut(string(content), text)
	require.True(t, found, "%s has no %q", file, text)
	if strings.HasPrefix(text, "\n") {
		before += "\n"
	}
	return fmt.Sprintf("%s:%d:", file, 1+strings.Count(before, "\n"))
}

// requireMistake wants exit code 2 and one line that begins with a place and
// holds the given texts.
func requireMistake(t *testing.T, r cluster.Result, where string, texts ...string) {
	t.Helper()
	require.Equal(t, 2, r.Code, r.Stderr)
	lines := strings.Split(strings.TrimSuffix(r.Stderr, "\n"), "\n")
	require.Len(t, lines, 1, r.Stderr)
	require.True(t, strings.HasPrefix(lines[0], "isthmus: "+where), "%s\nwant it to begin with %s", lines[0], where)
	for _, text := range texts {
		require.Contains(t, lines[0], text)
	}
	require.Empty(t, r.Stdout)
	t.Log(lines[0])
}

// requireFree wants that nobody is left on a cluster's ports.
func requireFree(t *testing.T, c *cluster.Cluster, but ...string) {
	t.Helper()
	for _, addr := range []string{c.Gossip, c.HTTP, c.DNS, c.Ready} {
		if len(but) == 0 || addr != but[0] {
			require.True(t, freeport.Free(addr), addr)
		}
	}
}

// occupy listens on an address until the test ends.
func occupy(t *testing.T, network, addr string) {
	t.Helper()
	if network == "udp" {
		c, err := net.ListenPacket(network, addr)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, c.Close()) })
		return
	}
	l, err := net.Listen(network, addr)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.Close()) })
}

func TestMistakesInWatcherYAML(t *testing.T) {
	c := cluster.New(t, "west").Clusters[0]
	file := func(name string) string { return filepath.Join(c.Dir, name) }
	require.NoError(t, os.WriteFile(file("garbage.key"), []byte("not a key"), 0o600))
	other, err := trust.NewAuthority(cluster.Name)
	require.NoError(t, err)
	cluster.Issue(t, other, trust.ID{Clusterset: cluster.Name, Cluster: "west", Role: trust.Watcher}, file("foreign"))
	for _, m := range []struct {
		name, from, to string
		at             string // on the line that is named
		want           []string
	}{
		{"unknown field", "\nlocality:", "\nlocalty:", "localty", []string{`unknown field "localty"`, `did you mean "locality"?`}},
		{"unknown field within", "manifests: {dir: ", "manifests: {dri: ", "dri", []string{`unknown field "dri" in source.manifests`, "want one of dir"}},
		{"bad locality", "region-west/zone-a", "region-west/zone a/b/c", "locality:", []string{"locality", "region[/zone[/subzone]]"}},
		{"duplicate key", "state: state", "cluster: east", "cluster: east", []string{`"cluster"`, "line 2", "keep one"}},
		{"no key file", "key: watcher.key", "key: absent.key", "tls:", []string{file("absent.key"), "does not exist", "isthmus pki"}},
		{"key is no key", "key: watcher.key", "key: garbage.key", "tls:", []string{file("garbage.key"), "isthmus pki issue"}},
		{"key is a certificate", "key: watcher.key", "key: watcher.crt", "tls:", []string{file("watcher.crt"), "isthmus pki issue"}},
		{"key is a folder", "key: watcher.key", "key: manifests", "tls:", []string{file("manifests"), "is a directory"}},
		{"key of another certificate", "key: watcher.key", "key: agent.key", "tls:", []string{file("agent.key"), "isthmus pki issue"}},
		{"agent's certificate", "{cert: watcher.crt, key: watcher.key", "{cert: agent.crt, key: agent.key", "tls:", []string{
			"tls.cert: ",
			"spiffe://test/cluster/west/agent", "use that cluster's watcher certificate",
		}},
		{
			"certificate of another root", "{cert: watcher.crt, key: watcher.key", "{cert: foreign.crt, key: foreign.key", "tls:",
			[]string{"does not chain to a trusted root", rootName(t, other), "issue it anew"},
		},
		{"no manifests folder", "dir: manifests", "dir: absent", "dir:", []string{"source.manifests.dir: ", file("absent"), "no such file or directory", "create it"}},
		{"address of another machine", `listen: "127.0.0.1:`, `listen: "192.0.2.77:`, "gossip:", []string{"gossip.listen: ", "not this machine's", "gossip.advertise"}},
		{"not YAML", "clusterset: test", "clusterset: [test", "", []string{"not YAML"}},
		{"empty cluster name", "cluster: west", `cluster: ""`, "cluster: \"", []string{"cluster: ", "is empty"}},
		{"state that is a file", "state: state", "state: ca.crt", "state:", []string{"state: ", file("ca.crt"), "name a folder"}},
	} {
		t.Run(m.name, func(t *testing.T) {
			r := startWith(t, c, m.from, m.to)
			requireMistake(t, r, place(t, c.ConfigFile(), m.at), m.want...)
			requireFree(t, c)
			require.NoDirExists(t, c.State())
		})
	}
	t.Run("unreadable key", func(t *testing.T) {
		if os.Getuid() == 0 {
			t.Skip("root reads everything")
		}
		require.NoError(t, os.Chmod(file("watcher.key"), 0))
		defer func() { require.NoError(t, os.Chmod(file("watcher.key"), 0o600)) }()
		r := cluster.Run(t, soon, "watch", "-c", c.ConfigFile())
		requireMistake(t, r, place(t, c.ConfigFile(), "tls:"), file("watcher.key"), "not readable", "change its owner or mode")
	})
	t.Run("no file", func(t *testing.T) {
		r := cluster.Run(t, soon, "watch", "-c", file("absent.yaml"))
		requireMistake(t, r, file("absent.yaml")+":", "no such file or directory", "give a file with -c")
	})
	for at, addr := range map[string]string{"gossip": c.Gossip, "http": c.HTTP} {
		t.Run("busy "+at+" port", func(t *testing.T) {
			occupy(t, "tcp", addr)
			r := cluster.Run(t, soon, "watch", "-c", c.ConfigFile())
			requireMistake(t, r, place(t, c.ConfigFile(), "\n"+at+":"), at, addr, "in use", "another")
			requireFree(t, c, addr)
			require.NoDirExists(t, c.State())
		})
	}
}

func TestMistakesInCorefile(t *testing.T) {
	c := cluster.New(t, "west").Clusters[0]
	file := func(name string) string { return filepath.Join(c.Dir, name) }
	for _, m := range []struct {
		name, from, to string
		at             string // on the line that is named
		want           []string
	}{
		{"unknown plugin", "bufsize 1232", "bufsiz 1232", "bufsiz", []string{`unknown plugin "bufsiz"`, `did you mean "bufsize"?`}},
		{"plugin that is left out", "errors", "etcd", "etcd", []string{`"etcd"`, "not in isthmus"}},
		{"unknown property", "snapshot snapshot", "snapshots snapshot", "snapshots", []string{"isthmus", `unknown property "snapshots"`, `did you mean "snapshot"?`}},
		{"no watcher", "watcher " + c.Gossip, "", "", []string{"watcher is missing"}},
		{"watcher's port", "watcher " + c.Gossip, "watcher 127.0.0.1:99999", "99999", []string{"watcher", "want host[:port]"}},
		{"no key file", "agent.key", "absent.key", "absent.key", []string{file("absent.key"), "isthmus pki"}},
		{"key of another certificate", "agent.key", "watcher.key", "", []string{file("watcher.key"), "isthmus pki issue"}},
		{"clusterset of another certificate", "node node-west", "clusterset prod", "", []string{`"test"`, `"prod"`, "use a certificate issued for it"}},
	} {
		t.Run(m.name, func(t *testing.T) {
			r := serveWith(t, c, m.from, m.to)
			requireMistake(t, r, place(t, c.Corefile(), m.at), m.want...)
			requireFree(t, c)
		})
	}
	t.Run("empty", func(t *testing.T) {
		require.NoError(t, os.WriteFile(file("empty"), nil, 0o600))
		r := cluster.Run(t, soon, "dns", "-conf", file("empty"))
		requireMistake(t, r, file("empty")+":", "no server block", "write one")
	})
	t.Run("no Corefile", func(t *testing.T) {
		r := cluster.Run(t, soon, "dns", "-conf", file("absent"))
		requireMistake(t, r, file("absent")+":", "no such file or directory", "give a Corefile with -conf")
	})
	for _, network := range []string{"udp", "tcp"} {
		t.Run("busy DNS port, "+network, func(t *testing.T) {
			occupy(t, network, c.DNS)
			r := cluster.Run(t, soon, "dns", "-conf", c.Corefile())
			requireMistake(t, r, place(t, c.Corefile(), "global:"), network, c.DNS, "address already in use", "another port")
			requireFree(t, c, c.DNS)
		})
	}
	for _, plugin := range []string{"ready", "health", "prometheus", "pprof"} {
		t.Run("busy port of "+plugin, func(t *testing.T) {
			occupy(t, "tcp", c.Ready)
			r := serveWith(t, c, "ready "+c.Ready, plugin+" "+c.Ready)
			requireMistake(t, r, place(t, c.Corefile(), plugin+" "), c.Ready, "address already in use", "another port")
			requireFree(t, c, c.Ready)
		})
	}
}

// TestSecondClusterOfAName: who comes second to a name gives way, and those
// who were there see nothing of it.
func TestSecondClusterOfAName(t *testing.T) {
	s := clusters(t, "west", "east")
	west := s.Clusters[0]
	second := s.Add(cluster.Spec{Name: "east", Label: "second"})
	second.Export(cluster.Service{Namespace: "evil", Name: "only-there", Ready: 1})
	questions := append(expected(&cluster.Set{Clusters: s.Clusters[:2]}),
		cluster.Expect{Query: cluster.Query{Name: "only-there.evil.global.", Type: "A"}, Right: []string{"NXDOMAIN"}})
	loop := west.Loop(questions...)
	begun := time.Now()
	second.Watcher.Start()
	require.Equal(t, 2, second.Watcher.Wait())
	require.Less(t, time.Since(begun), soon)
	said := second.Watcher.Logged("isthmus: ")
	require.True(t, strings.HasPrefix(said, "isthmus: "+second.ConfigFile()+":2: cluster: "), said)
	require.Contains(t, said, "cluster name is taken")
	require.Contains(t, said, "give this cluster another name, or stop the other one")
	require.Equal(t, 1, strings.Count(second.Watcher.Log(), "isthmus: "))
	requireFree(t, second)
	loop.Goes(2 * len(questions))
	loop.Stop()
	require.True(t, s.Clusters[1].Watcher.Running(), "the first cluster of the name gave way too")
}
