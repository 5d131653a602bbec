package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/gossip/trust"
	"github.com/isthmus-dns/isthmus/test/freeport"
	"github.com/isthmus-dns/isthmus/test/kubetest"
)

// site is one cluster of the three: its API server and its processes.
type site struct {
	name     string
	locality string // "" for a watcher that finds it in its nodes' labels
	gateway  string // of the default set

	kube     *kubetest.Cluster
	balancer *balancer // before the watchers: the address that others know
	watchers [2]*watcher
	agent    *process
	dns      string // the agent's address
}

// watcher is an `isthmus watch`.
type watcher struct {
	*process
	gossip, http string // host:port
}

// clusterset is the three of them.
type clusterset struct {
	dir                 string
	sites               [3]*site
	west, central, east *site
}

// The gateways lie in documentation networks (RFC 5737): nobody connects to
// what is answered.
const (
	westGateway    = "192.0.2.10"
	centralGateway = "198.51.100.20"
	eastGateway    = "203.0.113.30"
)

// startClusterset starts everything and waits until each agent knows all
// clusters. Each has two watchers behind one address, which is all that other
// clusters and its own agent know of them. The ServiceExport CRD is nowhere yet.
func startClusterset(t *testing.T) *clusterset {
	t.Helper()
	binary(t) // skips before anything starts
	cs := &clusterset{
		dir:     t.TempDir(),
		west:    &site{name: "west", locality: "us-west1/us-west1-a", gateway: westGateway},
		central: &site{name: "central", gateway: centralGateway},
		east:    &site{name: "east", locality: "us-east1/us-east1-b", gateway: eastGateway},
	}
	cs.sites = [3]*site{cs.west, cs.central, cs.east}
	writePKI(t, cs.dir, "west", "central", "east")
	for i, c := range kubetest.StartAll(t, len(cs.sites)) {
		cs.sites[i].kube = c
		c.Apply(base("namespace.yaml"), base("rbac.yaml"))
		cs.sites[i].world(t).namespace("shop")
	}
	cs.central.world(t).node("node-1", "us-central1", "us-central1-a", "198.51.100.41")
	cs.central.world(t).node("node-2", "us-central1", "us-central1-a", "198.51.100.42")
	cs.launch(t)
	cs.known(t)
	return cs
}

// launch starts the watchers and agents.
func (cs *clusterset) launch(t *testing.T) {
	t.Helper()
	began := time.Now()
	for _, s := range cs.sites {
		s.reserve(t)
	}
	for _, s := range cs.sites {
		for n, w := range s.watchers {
			w.process = s.watch(t, cs, n)
		}
	}
	for _, s := range cs.sites {
		s.serve(t, cs.dir)
	}
	t.Cleanup(func() { cs.terminate(t) })
	t.Logf("processes started in %v", time.Since(began))
}

// reserve finds the watchers' ports and puts the load balancer before them.
func (s *site) reserve(t *testing.T) {
	t.Helper()
	var backends []string
	for n := range s.watchers {
		s.watchers[n] = &watcher{gossip: freeport.Addr(t), http: freeport.Addr(t)}
		backends = append(backends, s.watchers[n].gossip)
	}
	s.balancer = balance(t, backends...)
}

// watch starts the watcher with number n. It joins the other clusters at their
// load balancers, and finds its own cluster's other one as it would in DNS.
func (s *site) watch(t *testing.T, cs *clusterset, n int) *process {
	t.Helper()
	var join, siblings []string
	for _, other := range cs.sites {
		if other != s {
			join = append(join, other.balancer.addr)
		}
	}
	for _, w := range s.watchers {
		siblings = append(siblings, w.gossip)
	}
	name := fmt.Sprintf("%s-watcher-%d", s.name, n)
	file := writeWatcher(t, cs.dir, name, map[string]any{
		"cluster": s.name, "locality": s.locality,
		"source": map[string]any{"kubernetes": map[string]any{"kubeconfig": s.kubeconfig(t, cs.dir)}},
		"gateways": []any{map[string]any{
			"name": "default", "addresses": []string{s.gateway}, "port": 15443, "check": map[string]any{"type": "none"},
		}},
		"gossip": map[string]any{
			"listen": s.watchers[n].gossip, "advertise": s.balancer.addr, "join": join, "siblings": siblings,
		},
		"tls":   tlsFiles(s.name, "watcher"),
		"state": filepath.Join(cs.dir, name),
		"http":  s.watchers[n].http,
	})
	// As the Deployment sets them.
	return launch(t, name, cs.dir, []string{fmt.Sprintf("POD_NAME=watcher-%d", n), "POD_NAMESPACE=isthmus"}, "watch", "-c", file)
}

// serve starts the site's agent.
func (s *site) serve(t *testing.T, dir string) {
	t.Helper()
	file, address := writeCorefile(t, dir, s.name, " "+s.balancer.addr)
	s.dns = address
	s.agent = launch(t, s.name+"-agent", dir, nil, "dns", "-conf", file)
}

// known waits until every agent knows all clusters.
func (cs *clusterset) known(t *testing.T) {
	t.Helper()
	began := time.Now()
	for _, s := range cs.sites {
		require.Eventually(t, func() bool {
			r, err := s.ask("_clusters.global.", dns.TypeTXT)
			return err == nil && len(r.Answer) == len(cs.sites) // one TXT record each
		}, patience, 20*time.Millisecond, "agent of %s", s.name)
	}
	t.Logf("all agents know all clusters %v after the last process started", time.Since(began))
}

// terminate ends all processes as the kubelet does; a graceful end has exit
// code 0.
func (cs *clusterset) terminate(t *testing.T) {
	for _, s := range cs.sites {
		processes := []*process{s.agent}
		for _, w := range s.watchers {
			processes = append(processes, w.process)
		}
		for _, p := range processes {
			if !p.alive() {
				t.Errorf("%s ended by itself", p.name)
				continue
			}
			if code := p.terminate(t); code != 0 {
				t.Errorf("%s ended with exit code %d", p.name, code)
			}
		}
	}
}

// status is a part of what a watcher says of itself.
type status struct{ Leading, Ready bool }

// status asks a watcher; one that is not there is nothing.
func (w *watcher) status() (s status) {
	if json.Unmarshal(w.get("/api/v1/status"), &s) != nil {
		return status{}
	}
	return s
}

// members are the names of the watchers that a watcher knows, sorted.
func (w *watcher) members() (names []string) {
	var s struct{ Members []struct{ Name string } }
	if json.Unmarshal(w.get("/api/v1/status"), &s) != nil {
		return nil
	}
	for _, m := range s.Members {
		names = append(names, m.Name)
	}
	return names
}

// get is what a watcher's HTTP server gives, nothing from one that is not there.
func (w *watcher) get(path string) []byte {
	client := http.Client{Timeout: time.Second}
	resp, err := client.Get("http://" + w.http + path)
	if err != nil {
		return nil
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil
	}
	return text
}

func (w *watcher) leads() bool { return w.status().Leading }

func (w *watcher) ready() bool { return w.status().Ready }

// writePKI makes a root and certificates as `isthmus pki` does.
func writePKI(t *testing.T, dir string, clusters ...string) {
	t.Helper()
	authority, err := trust.NewAuthority(clustersetName)
	require.NoError(t, err)
	write := func(name string, text []byte) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), text, 0o600))
	}
	write("ca.crt", authority.CertPEM())
	for _, cluster := range clusters {
		for _, role := range []trust.Role{trust.Watcher, trust.Agent} {
			cert, key, err := authority.Issue(trust.ID{Clusterset: clustersetName, Cluster: cluster, Role: role}, time.Hour)
			require.NoError(t, err)
			files := tlsFiles(cluster, string(role))
			write(files["cert"], cert)
			write(files["key"], key)
		}
	}
}

// tlsFiles are relative to the configuration's folder.
func tlsFiles(cluster, role string) map[string]string {
	return map[string]string{"cert": cluster + "-" + role + ".crt", "key": cluster + "-" + role + ".key", "ca": "ca.crt"}
}
