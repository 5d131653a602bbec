package clusters

import (
	"testing"
	"time"
)

// TestClusters installs the product once for all its subtests.
func TestClusters(t *testing.T) {
	f := start(t)
	t.Cleanup(func() {
		if t.Failed() {
			f.tell(t)
		}
	})
	f.install(t)
	for _, c := range f.clusters {
		f.mark(t, c)
	}
	f.settled(t, f.began)
	f.took(t, "every Pod hears what is right")
	for _, tt := range []struct {
		name string
		test func(*testing.T, *fleet)
	}{
		{"Curl", testCurl},
		{"Restricted", testRestricted},
		{"Rights", testRights},
		{"Faults", testFaults},
		{"Uninstall", testUninstall},
	} {
		t.Run(tt.name, func(t *testing.T) { tt.test(t, f) })
		f.took(t, tt.name)
	}
}

// tell logs what one wants to know of clusters that will be gone.
func (f *fleet) tell(t *testing.T) {
	for _, c := range f.clusters {
		for _, line := range []string{
			"get nodes", "get pods -A -o wide", "get events -A --sort-by=.lastTimestamp | tail -n 30",
			"-n isthmus logs -l app.kubernetes.io/part-of=isthmus --prefix --tail=60 --since=" + (10 * time.Minute).String(),
		} {
			out, err := c.shell("", "kubectl "+line, "")
			t.Logf("%s: kubectl %s\n%s%v", c.name, line, out, err)
		}
	}
}
