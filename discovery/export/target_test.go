package export_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/discovery/export"
)

// at is a slice with one TCP port.
func at(name string, port int32, pods ...pod) *discoveryv1.EndpointSlice {
	s := slice(pods...)
	s.Ports = []discoveryv1.EndpointPort{{Name: &name, Port: &port}}
	return s
}

// TestPortsOfAHeadlessService: there is no virtual address that would turn the
// Service's port into the Pods', so SRV must carry the latter (the Kubernetes
// DNS specification, section 2.4.2).
func TestPortsOfAHeadlessService(t *testing.T) {
	one, two := pod{ip: "10.1.0.1"}, pod{ip: "10.1.0.2"}
	nowhere := at("http", 8080, one)
	nowhere.Ports[0].Port = nil
	other := at("http", 8080, one)
	other.Ports[0].Protocol = new(corev1.ProtocolUDP)
	for name, test := range map[string]struct {
		slices []*discoveryv1.EndpointSlice
		want   uint16
	}{
		"another port":                   {slicesOf(at("http", 8080, one)), 8080},
		"of most Pods during a change":   {slicesOf(at("http", 8080, one), at("http", 9090, two, pod{ip: "10.1.0.3"})), 9090},
		"of as many, the lowest":         {slicesOf(at("http", 9090, one), at("http", 8080, two)), 8080},
		"of another name":                {slicesOf(at("admin", 8080, one)), 80},
		"of another protocol":            {slicesOf(other), 80},
		"not told":                       {slicesOf(slice(one)), 80},
		"without a number":               {slicesOf(nowhere), 80},
		"that is none":                   {slicesOf(at("http", 65536, one)), 80},
		"of a slice that holds no Pod":   {slicesOf(at("http", 8080)), 8080},
		"of an empty one and a full one": {slicesOf(at("http", 80), at("http", 8080, one)), 8080},
	} {
		t.Run(name, func(t *testing.T) {
			got := export.Build(export.Input{Service: service(headless), Slices: test.slices}).Service
			require.Equal(t, []discovery.Port{{Name: "http", Protocol: discovery.TCP, Port: test.want}}, got.Ports)
		})
	}
	t.Run("of a Service with a cluster IP", func(t *testing.T) {
		got := export.Build(export.Input{Service: service(), Slices: slicesOf(at("http", 8080, one))}).Service
		require.EqualValues(t, 80, got.Ports[0].Port)
	})
}

// TestPodsThatListenElsewhere: an address record can't turn a port into
// another, so on a shared network a Service whose Pods listen elsewhere is
// reached by its gateway.
func TestPodsThatListenElsewhere(t *testing.T) {
	one := pod{ip: "10.1.0.1"}
	build := func(slices ...*discoveryv1.EndpointSlice) []discovery.Endpoint {
		return export.Build(export.Input{Service: service(), Slices: slices, Opts: export.Options{SharesNetwork: true}}).Service.Endpoints
	}
	require.Len(t, build(at("http", 80, one)), 1)
	require.Len(t, build(slice(one)), 1, "not told")
	require.Empty(t, build(at("http", 8080, one)))
	require.Empty(t, build(at("http", 80, one), at("http", 8080, pod{ip: "10.1.0.2"})))
	require.Len(t, build(at("http", 80, one), at("http", 8080)), 1, "an empty slice sends nobody anywhere")
}
