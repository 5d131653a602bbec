package clusters

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Each of these makes one kind of fault, with a change that must get through
// nevertheless.

// apiServersAway: all at once. What was published stays; a change can't be
// made before they are back.
func apiServersAway(t *testing.T, f *fleet, m *measure) {
	stopped := true
	start := func(c *cluster) error { return f.rig.run("start-api", strconv.Itoa(c.number)) }
	t.Cleanup(func() {
		if stopped {
			each(t, f.clusters, start)
		}
	})
	each(t, f.clusters, func(c *cluster) error { return f.rig.run("stop-api", strconv.Itoa(c.number)) })
	time.Sleep(m.lasts)
	stopped = false
	each(t, f.clusters, start)
	m.changeAll(t, f)
}

// changeAll makes a change in every cluster and waits until all Pods know.
func (m *measure) changeAll(t *testing.T, f *fleet) {
	t.Helper()
	began := time.Now()
	for _, c := range f.clusters {
		f.change(t, c)
	}
	m.right = f.settled(t, began, m.without...)
}

// leadersDeleted: in all clusters at once.
func leadersDeleted(t *testing.T, f *fleet, m *measure) {
	for _, c := range f.clusters {
		c.deletePod(t, c.leader(t))
	}
	m.changeAll(t, f)
	f.rolledOut(t)
}

// leader is the Pod that holds the Lease.
func (c *cluster) leader(t testing.TB) string {
	t.Helper()
	var holder string
	await(t, patience, func() error {
		lease, err := c.client.CoordinationV1().Leases("isthmus").Get(t.Context(), "isthmus-watcher", metav1.GetOptions{})
		if err == nil && (lease.Spec.HolderIdentity == nil || *lease.Spec.HolderIdentity == "") {
			err = fmt.Errorf("nobody leads in %s", c.name)
		}
		if err == nil {
			holder, _, _ = strings.Cut(*lease.Spec.HolderIdentity, ".") // POD.CLUSTER
		}
		return err
	})
	return holder
}

func (c *cluster) deletePod(t testing.TB, name string) {
	t.Helper()
	require.NoError(t, c.client.CoreV1().Pods("isthmus").Delete(t.Context(), name, metav1.DeleteOptions{}))
}

// watchers and agents are those of a cluster.
func (c *cluster) watchers(t testing.TB) []corev1.Pod {
	t.Helper()
	pods, err := c.pods(t.Context(), "isthmus", "app.kubernetes.io/name=isthmus-watcher")
	require.NoError(t, err)
	return pods
}

// watchersDeleted: of the last cluster, with all that they had on disk.
func watchersDeleted(t *testing.T, f *fleet, m *measure) {
	c := f.clusters[len(f.clusters)-1]
	for _, pod := range c.watchers(t) {
		c.deletePod(t, pod.Name)
	}
	began := time.Now()
	f.change(t, c)
	m.right = f.settled(t, began)
	f.rolledOut(t)
}

// rolledOut waits until all Pods of the product serve.
func (f *fleet) rolledOut(t testing.TB) {
	t.Helper()
	for _, c := range f.clusters {
		c.rolledOut(t, "isthmus", "deployment/isthmus-watcher")
		c.rolledOut(t, "isthmus", "daemonset/isthmus-agent")
	}
}

// nodeKilled: the second node of the last cluster, which no load balancer's
// address is on. Other clusters find its node ports dead by their probes, and
// leave them out. In its own cluster half of a service's Pods are too few to
// take all: with a factor of 1.4 they take 70 %.
func nodeKilled(t *testing.T, f *fleet, m *measure) {
	c := f.clusters[len(f.clusters)-1]
	node := fmt.Sprintf("c%d-n2", c.number)
	m.without = []string{node}
	// What others are answered while it is gone.
	name := "node-" + c.name + ".demo.global."
	both := c.nodeAddresses(t)
	one := strings.Fields(both)[0]
	for _, other := range f.clusters {
		if other != c {
			m.changed[other] = wants{name: {one}}
			m.anytime.add(c, "shared.demo.global.", other.balanced(t, "demo", "gateway"))
		}
	}
	f.rig.must(t, "stop-node", strconv.Itoa(c.number), "2")
	off := true
	t.Cleanup(func() {
		if off {
			f.rig.must(t, "start-node", strconv.Itoa(c.number), "2")
		}
	})
	began := time.Now()
	m.right = f.hears(t, began, name, one, c, m.without)
	time.Sleep(m.lasts - time.Since(began))
	off = false
	f.rig.must(t, "start-node", strconv.Itoa(c.number), "2")
	f.rolledOut(t)
	c.rolledOut(t, "demo", "daemonset/ask")
	f.reachable(t)
}

// reachable waits until each cluster has found all the others' gateways up.
// Before that an answer may be right and change again: gateways that are all
// down are answered like those that are all up.
func (f *fleet) reachable(t testing.TB) {
	t.Helper()
	for _, c := range f.clusters {
		await(t, patience, func() error {
			up := false
			for _, pod := range c.watchers(t) {
				text, err := c.exec("curl -sS --max-time 2 http://" + pod.Status.PodIP + ":8080/metrics")
				if err != nil {
					return err
				}
				for line := range strings.Lines(text) {
					labels, found := strings.CutPrefix(line, "isthmus_probe_targets")
					none := strings.HasSuffix(labels, " 0\n")
					if found && !none && !strings.Contains(labels, `status="up"`) {
						return fmt.Errorf("%s of %s: %s", pod.Name, c.name, line)
					}
					up = up || found && !none
				}
			}
			if !up {
				return fmt.Errorf("nobody probes in %s", c.name)
			}
			return nil
		})
	}
}

// hears waits until the Pods of all clusters but one hear an answer, and
// returns how long after began the last one began to.
func (f *fleet) hears(t testing.TB, began time.Time, name, answer string, but *cluster, without []string) time.Duration {
	t.Helper()
	last := began
	await(t, patience, func() error {
		askers, err := f.askers(t.Context(), without...)
		if err != nil {
			return err
		}
		last = began
		for _, a := range askers {
			if a.cluster == but {
				continue
			}
			at, err := a.settled(t.Context(), began, map[string]string{name: answer})
			if err != nil {
				return err
			}
			last = latest(last, at)
		}
		return nil
	})
	return last.Sub(began)
}

// cutApart: the first cluster and the last, each of which has changed when
// they are together again. With a third cluster between them the news gets
// through before.
func cutApart(t *testing.T, f *fleet, m *measure) {
	a, b := f.clusters[0], f.clusters[len(f.clusters)-1]
	// Of several gateways that can't be reached, one is the first to be found
	// down, and the first to be found up again.
	for _, pair := range [][2]*cluster{{a, b}, {b, a}} {
		for _, node := range strings.Fields(pair[1].nodeAddresses(t)) {
			m.anytime.add(pair[0], "node-"+pair[1].name+".demo.global.", node)
		}
	}
	f.rig.must(t, "partition", strconv.Itoa(a.number), strconv.Itoa(b.number))
	t.Cleanup(func() { f.rig.must(t, "heal") })
	began := time.Now()
	f.change(t, a)
	f.change(t, b)
	if len(f.clusters) > 2 {
		m.right = f.settled(t, began)
	}
	time.Sleep(m.lasts - time.Since(began))
	f.rig.must(t, "heal")
	if len(f.clusters) == 2 {
		m.right = f.settled(t, time.Now())
	}
	f.reachable(t)
}

// balancerMoves: the status of a Service loses its address, and gets another.
// Until then the one before is answered.
func balancerMoves(t *testing.T, f *fleet, m *measure) {
	for _, c := range f.clusters {
		f.setMark(t, c)
	}
	time.Sleep(m.lasts)
	m.changeAll(t, f)
}

// everythingRolls: all Pods of the product are replaced, in all clusters.
func everythingRolls(t *testing.T, f *fleet, m *measure) {
	for _, c := range f.clusters {
		c.kubectl(t, "-n isthmus rollout restart deployment/isthmus-watcher daemonset/isthmus-agent")
	}
	m.changeAll(t, f)
	f.rolledOut(t)
}

// secretsRotated: new certificates in all clusters, which Pods take over while
// they run.
func secretsRotated(t *testing.T, f *fleet, m *measure) {
	began := time.Now()
	lines := append([]string{"isthmus pki issue --dir pki --cluster $CLUSTER"}, f.steps.secrets...)
	each(t, f.clusters, func(c *cluster) error { return f.types(c, lines...) })
	for _, c := range f.clusters {
		// The kubelet brings Secrets when it looks at a Pod again: by itself
		// within a minute and a half, and at once after a change of the Pod.
		c.kubectl(t, fmt.Sprintf("-n isthmus annotate pods --all --overwrite test/rotated=%d", began.Unix()))
	}
	for _, c := range f.clusters {
		pods, err := c.pods(t.Context(), "isthmus", "app.kubernetes.io/part-of=isthmus")
		require.NoError(t, err)
		for _, pod := range pods {
			await(t, patience, func() error {
				text, err := c.log(t.Context(), "isthmus", pod.Name, began)
				if err == nil && !bytes.Contains(text, []byte("certificate files reloaded")) {
					err = fmt.Errorf("%s of %s has not taken the new certificate", pod.Name, c.name)
				}
				return err
			})
		}
	}
	t.Logf("all have the new certificates after %.1f s", time.Since(began).Seconds())
	m.changeAll(t, f)
}

// agentsFirst: in the last cluster nobody is left who knows anything. Its own
// Pods get no answers until its agents have a table; they must not be told
// that names don't exist.
func agentsFirst(t *testing.T, f *fleet, m *measure) {
	c := f.clusters[len(f.clusters)-1]
	for _, node := range c.nodes(t) {
		m.losing = append(m.losing, node.Name)
	}
	c.kubectl(t, "-n isthmus scale deployment isthmus-watcher --replicas=0")
	await(t, patience, func() error {
		if n := len(c.watchers(t)); n > 0 {
			return fmt.Errorf("%d watchers of %s are left", n, c.name)
		}
		return nil
	})
	began := time.Now()
	c.kubectl(t, "-n isthmus delete pods -l app.kubernetes.io/name=isthmus-agent")
	await(t, patience, func() error {
		agents, err := c.pods(t.Context(), "isthmus", "app.kubernetes.io/name=isthmus-agent")
		if err != nil {
			return err
		}
		for _, pod := range agents {
			if pod.Status.Phase != corev1.PodRunning || pod.CreationTimestamp.Time.Before(began.Truncate(time.Second)) {
				return fmt.Errorf("%s has not begun", pod.Name)
			}
		}
		if len(agents) != len(m.losing) {
			return fmt.Errorf("%d agents of %s have begun", len(agents), c.name)
		}
		return nil
	})
	time.Sleep(m.lasts)
	began = time.Now()
	c.kubectl(t, "-n isthmus scale deployment isthmus-watcher --replicas=2")
	f.change(t, c)
	m.right = f.settled(t, began)
	f.rolledOut(t)
}
