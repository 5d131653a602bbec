package cluster

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/gossip/trust"
	"github.com/isthmus-dns/isthmus/test/freeport"
)

// Name is the clusterset's.
const Name = "test"

// Set is a clusterset.
type Set struct {
	Authority *trust.Authority
	Clusters  []*Cluster

	t   *scope
	dir string
}

// scope is the test that is at work with the clusters: New's, or a step of it.
type scope struct{ testing.TB }

// Cluster is one cluster with its two processes.
type Cluster struct {
	Spec
	// Dir holds all files of the cluster: watcher.yaml, Corefile, certificates,
	// manifests/, state/ of the watcher and snapshot/ of the agent.
	Dir string
	// Gateway is its default gateway's address.
	Gateway string
	// Addresses on loopback, host:port.
	DNS, Ready, Gossip, HTTP string
	Watcher, Agent           *Process
	// Watchers are all watchers of the cluster; the first is Watcher.
	Watchers []*Watcher

	t     *scope
	index int
}

// Watcher is one of a cluster's watchers, with its addresses.
type Watcher struct {
	*Process
	Gossip, HTTP string

	config, state string // a file, and a folder beside it
}

// Spec is what a cluster that is not like the others differs in.
type Spec struct {
	Name string
	// Label tells clusters of one name apart; Name if empty.
	Label string
	// Authority issues its certificates; the set's if nil.
	Authority *trust.Authority
	// Trusts are the roots that it accepts; the set's if empty.
	Trusts []*trust.Authority
	// Seeds are addresses that it joins through, beside those of the set.
	Seeds []string
	// WatcherEnv and AgentEnv are added to the processes' environment, as in
	// "GOGC=50".
	WatcherEnv, AgentEnv []string
	// Source is what its watchers read, as in watcher.yaml; a folder of
	// manifests if empty.
	Source string
	// Watchers is how many it has; 0 means 1.
	Watchers int
	// Debug makes its processes log all that they can, the versions that they
	// show among it.
	Debug bool
}

// marker is the service that each cluster exports, to be seen by the others.
const markerName = "marker.cluster-test.global."

// New writes the files of clusters that join one another, and starts nothing.
func New(t testing.TB, names ...string) *Set {
	t.Helper()
	specs := make([]Spec, len(names))
	for i, name := range names {
		specs[i].Name = name
	}
	return Make(t, specs...)
}

// Make is New for clusters that are not like the others.
func Make(t testing.TB, specs ...Spec) *Set {
	t.Helper()
	authority, err := trust.NewAuthority(Name)
	require.NoError(t, err)
	s := &Set{Authority: authority, t: &scope{t}, dir: t.TempDir()}
	for _, spec := range specs {
		s.place(spec)
	}
	for _, c := range s.Clusters {
		s.write(c)
	}
	return s
}

// Add writes the files of one more cluster, which joins through all before it.
func (s *Set) Add(spec Spec) *Cluster {
	s.t.Helper()
	c := s.place(spec)
	s.write(c)
	return c
}

// place finds a cluster's place in the set: names, addresses and processes.
func (s *Set) place(spec Spec) *Cluster {
	s.t.Helper()
	if spec.Label == "" {
		spec.Label = spec.Name
	}
	if spec.Authority == nil {
		spec.Authority = s.Authority
	}
	if len(spec.Trusts) == 0 {
		spec.Trusts = []*trust.Authority{s.Authority}
	}
	index := len(s.Clusters) + 1
	c := &Cluster{
		Spec: spec, Dir: filepath.Join(s.dir, spec.Label), Gateway: fmt.Sprintf("192.0.2.%d", index),
		DNS: freeport.Addr(s.t), Ready: freeport.Addr(s.t),
		t: s.t, index: index,
	}
	for n := range max(spec.Watchers, 1) {
		c.Watchers = append(c.Watchers, c.watcher(n))
	}
	c.Watcher, c.Gossip, c.HTTP = c.Watchers[0].Process, c.Watchers[0].Gossip, c.Watchers[0].HTTP
	c.Agent = c.process("agent", 0, "dns", "-conf", c.Corefile())
	c.Agent.env = append(c.Agent.env, spec.AgentEnv...)
	s.Clusters = append(s.Clusters, c)
	return c
}

func (s *Set) write(c *Cluster) {
	s.t.Helper()
	join := slices.Clone(c.Seeds)
	for _, other := range s.Clusters {
		if other != c {
			join = append(join, other.Gossip)
		}
	}
	c.writeFiles(join)
	c.Export(Service{Namespace: "cluster-test", Name: "marker", Ready: 1})
}

// watcher finds the place of the watcher with a number from 0.
func (c *Cluster) watcher(n int) *Watcher {
	w := &Watcher{Gossip: freeport.Addr(c.t), HTTP: freeport.Addr(c.t), config: c.ConfigFile(), state: "state"}
	role := "watcher"
	if n > 0 {
		role = fmt.Sprintf("watcher-%d", n)
		w.config, w.state = filepath.Join(c.Dir, role+".yaml"), fmt.Sprintf("state-%d", n)
	}
	args := []string{"watch", "-c", w.config}
	if c.Debug {
		args = append(args, "--log-level", "debug")
	}
	w.Process = c.process(role, n, args...)
	w.env = append(w.env, c.WatcherEnv...)
	return w
}

func (c *Cluster) process(role string, pod int, args ...string) *Process {
	p := &Process{
		Name: role + " of " + c.Label, args: args, env: environment(fmt.Sprintf("%s-%d", c.Label, pod)),
		log: filepath.Join(c.Dir, role+".log"), t: c.t,
	}
	c.t.Cleanup(p.end)
	return p
}

// Start starts all clusters and waits until each answers for all others.
func (s *Set) Start() {
	s.t.Helper()
	for _, c := range s.Clusters {
		for _, w := range c.Watchers {
			w.Start()
		}
		c.Agent.Start()
	}
	for _, c := range s.Clusters {
		c.Sees(s.Clusters...)
	}
}

// Step runs a subtest that works with the same clusters as the steps before
// it; when one of those failed, it is skipped.
func (s *Set) Step(name string, run func(t *testing.T)) {
	root, ok := s.t.TB.(*testing.T)
	if !ok {
		s.t.Fatal("steps are for tests, and don't nest")
	}
	root.Run(name, func(t *testing.T) {
		if root.Failed() {
			t.Skip("an earlier step failed")
		}
		s.t.TB = t
		defer func() { s.t.TB = root }()
		run(t)
	})
}

// Sees waits until a cluster answers for the given ones.
func (c *Cluster) Sees(others ...*Cluster) {
	c.t.Helper()
	for _, other := range others {
		want := other.Gateway
		if other == c {
			want = other.ClusterIP("marker")
		}
		c.Answers(other.Name+"."+markerName, "A", want)
	}
}

// Corefile is the agent's.
func (c *Cluster) Corefile() string { return filepath.Join(c.Dir, "Corefile") }

// ConfigFile is the watcher's.
func (c *Cluster) ConfigFile() string { return filepath.Join(c.Dir, "watcher.yaml") }

// State is the watcher's state folder, Snapshot the agent's.
func (c *Cluster) State() string { return filepath.Join(c.Dir, "state") }

// Snapshot is the folder of the agent's copy of the table.
func (c *Cluster) Snapshot() string { return filepath.Join(c.Dir, "snapshot") }

// CertificateLife is that of all certificates here.
const CertificateLife = 24 * time.Hour

// Issue writes a certificate and its key as base.crt and base.key.
func Issue(t testing.TB, a *trust.Authority, id trust.ID, base string) {
	t.Helper()
	cert, key, err := a.Issue(id, CertificateLife)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(base+".crt", cert, 0o600))
	require.NoError(t, os.WriteFile(base+".key", key, 0o600))
}

// Identity is a watcher's identity of a cluster, as the watcher itself has it,
// for a test that speaks the protocols by hand.
func (c *Cluster) Identity() *trust.Identity {
	c.t.Helper()
	return c.IdentityOf(trust.Watcher)
}

// IdentityOf is that of the cluster's watcher or agent.
func (c *Cluster) IdentityOf(role trust.Role) *trust.Identity {
	c.t.Helper()
	base := filepath.Join(c.Dir, string(role))
	id, err := trust.Load(trust.Files{Cert: base + ".crt", Key: base + ".key", CA: filepath.Join(c.Dir, "ca.crt")}, Name)
	require.NoError(c.t, err)
	return id
}
