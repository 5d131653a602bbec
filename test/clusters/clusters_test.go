package clusters

import "testing"

// TestClusters installs the product once for all its subtests.
func TestClusters(t *testing.T) {
	f := start(t)
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
		{"Faults", testFaults},
	} {
		t.Run(tt.name, func(t *testing.T) { tt.test(t, f) })
		f.took(t, tt.name)
	}
}
