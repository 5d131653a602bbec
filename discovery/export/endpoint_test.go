package export_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/discovery/export"
)

func TestCounts(t *testing.T) {
	yes, no := new(true), new(false)
	all := func(svc *corev1.Service) { svc.Spec.PublishNotReadyAddresses = true }
	fqdn := slice(pod{ip: "db.example"})
	fqdn.AddressType = discoveryv1.AddressTypeFQDN
	several := slice(pod{ip: "10.1.0.1"})
	several.Endpoints[0].Addresses = []string{"10.1.0.1", "10.1.0.2"}
	tests := []struct {
		name   string
		svc    *corev1.Service
		slices []*discoveryv1.EndpointSlice
		want   []discovery.ZoneCount
	}{
		{"none", service(), nil, nil},
		{"nil ready is ready", service(), slicesOf(slice(pod{ip: "10.1.0.1"})), counts("", 1, 1)},
		{"not ready", service(), slicesOf(slice(pod{ip: "10.1.0.1", ready: no})), counts("", 0, 1)},
		{"serving but not ready", service(), slicesOf(slice(pod{ip: "10.1.0.1", ready: no, serving: yes})), counts("", 0, 1)},
		{"terminating with nil ready", service(), slicesOf(slice(pod{ip: "10.1.0.1", terminating: yes})), counts("", 0, 1)},
		{"terminating and serving", service(), slicesOf(slice(pod{ip: "10.1.0.1", ready: no, serving: yes, terminating: yes})), counts("", 0, 1)},
		{"publishNotReadyAddresses", service(all), slicesOf(slice(pod{ip: "10.1.0.1", ready: no}, pod{ip: "10.1.0.2", terminating: yes})), counts("", 2, 2)},
		{"several slices", service(), slicesOf(slice(pod{ip: "10.1.0.1", zone: "a"}), slice(pod{ip: "10.1.0.2", zone: "a"})), counts("a", 2, 2)},
		{"in two slices at once", service(), slicesOf(slice(pod{ip: "10.1.0.1", ready: no}), slice(pod{ip: "10.1.0.1", ready: yes})), counts("", 1, 1)},
		{"FQDN slices", service(), slicesOf(fqdn), nil},
		{"nil slice", service(), slicesOf(nil), nil},
		{"only the first address counts", service(), slicesOf(several), counts("", 1, 1)},
		{"bad addresses", service(), slicesOf(slice(pod{ip: "10.1.0.300"}, pod{ip: "0.0.0.0"}, pod{ip: "224.0.0.1"}, pod{ip: "fe80::1%eth0"}, pod{ip: "::ffff:0.0.0.0"}, pod{ip: "::ffff:224.0.0.1"})), nil},
		{"dual stack", service(), slicesOf(slice(pod{ip: "10.1.0.1"}, pod{ip: "10.1.0.2"}), slice(pod{ip: "fd00::1"}, pod{ip: "fd00::2", ready: no})), counts("", 2, 2)},
		{"IPv6 only", service(), slicesOf(slice(pod{ip: "fd00::1"}, pod{ip: "fd00::2", ready: no})), counts("", 1, 2)},
		{"mapped IPv4 is IPv4", service(), slicesOf(slice(pod{ip: "::ffff:10.1.0.1"}, pod{ip: "10.1.0.1"})), counts("", 1, 1)},
		{"zone that is no label value", service(), slicesOf(slice(pod{ip: "10.1.0.1", zone: "a/b"}, pod{ip: "10.1.0.2", zone: "-"})), counts("", 2, 2)},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := export.Build(export.Input{Service: test.svc, Slices: test.slices})
			require.NotNil(t, got.Service)
			require.Equal(t, test.want, got.Service.Counts)
			require.Empty(t, got.Service.Endpoints, "a ClusterIP service on a network of its own carries none")
		})
	}
}

func slicesOf(s ...*discoveryv1.EndpointSlice) []*discoveryv1.EndpointSlice { return s }

func counts(zone string, ready, total uint32) []discovery.ZoneCount {
	return []discovery.ZoneCount{{Zone: zone, Ready: ready, Total: total}}
}

func TestZonesBeyondTheBoundArePooled(t *testing.T) {
	var pods []pod
	for i := range discovery.MaxZones + 10 {
		pods = append(pods, pod{ip: fmt.Sprintf("10.1.0.%d", i), zone: fmt.Sprintf("zone-%03d", i)})
	}
	got := export.Build(export.Input{Service: service(), Slices: slicesOf(slice(pods...))}).Service
	require.Len(t, got.Counts, discovery.MaxZones)
	require.Equal(t, discovery.ZoneCount{Zone: "", Ready: 11, Total: 11}, got.Counts[0])
	require.EqualValues(t, len(pods), got.Ready())
}

func TestEndpointsCarried(t *testing.T) {
	in := slice(
		pod{ip: "10.1.0.2", host: "orders-1", zone: "a"},
		pod{ip: "10.1.0.1", host: "orders-0", zone: "a", ready: new(false)},
		pod{ip: "10.1.0.3", host: "Not_A_Label"})
	t.Run("headless", func(t *testing.T) {
		got := export.Build(export.Input{Service: service(headless), Slices: slicesOf(in)}).Service
		require.Equal(t, discovery.KindHeadless, got.Kind)
		require.Empty(t, got.ClusterIPs)
		require.Equal(t, []discovery.Endpoint{
			{Addr: addrs("10.1.0.1")[0], Hostname: "orders-0", Zone: "a"},
			{Addr: addrs("10.1.0.2")[0], Hostname: "orders-1", Zone: "a", Ready: true},
			{Addr: addrs("10.1.0.3")[0], Ready: true},
		}, got.Endpoints)
	})
	t.Run("ClusterIP on a shared network", func(t *testing.T) {
		got := export.Build(export.Input{Service: service(), Slices: slicesOf(in), Opts: export.Options{SharesNetwork: true}}).Service
		require.Len(t, got.Endpoints, 3)
		require.Empty(t, got.Endpoints[0].Hostname, "host names are those of headless services")
	})
}

func TestSubsetOfManyEndpointsIsStable(t *testing.T) {
	pods := make([]pod, 1000)
	for i := range pods {
		pods[i] = pod{ip: fmt.Sprintf("10.1.%d.%d", i/250, i%250), zone: "zone-a"}
	}
	carried := func(pods []pod) []discovery.Endpoint {
		return export.Build(export.Input{Service: service(headless), Slices: slicesOf(slice(pods...))}).Service.Endpoints
	}
	before := carried(pods)
	require.Len(t, before, discovery.MaxEndpoints)
	require.True(t, slices.IsSortedFunc(before, func(x, y discovery.Endpoint) int { return x.Addr.Compare(y.Addr) }))

	for _, gone := range []int{0, 17, 400, 999} {
		after := carried(slices.Delete(slices.Clone(pods), gone, gone+1))
		kept := 0
		for _, e := range after {
			if slices.Contains(before, e) {
				kept++
			}
		}
		require.GreaterOrEqual(t, kept, discovery.MaxEndpoints-1, "one Pod less moves one endpoint at most")
	}

	quarters := [4]int{} // addresses that lie side by side are not preferred
	for _, e := range before {
		quarters[e.Addr.As4()[2]]++
	}
	for _, n := range quarters {
		require.InDelta(t, discovery.MaxEndpoints/4, n, 25)
	}
}

func TestSubsetPrefersReadyEndpoints(t *testing.T) {
	pods := make([]pod, 400)
	for i := range pods {
		pods[i] = pod{ip: fmt.Sprintf("10.1.%d.%d", i/250, i%250), ready: new(i%2 == 0)}
	}
	got := export.Build(export.Input{Service: service(headless), Slices: slicesOf(slice(pods...))}).Service
	ready := 0
	for _, e := range got.Endpoints {
		if e.Ready {
			ready++
		}
	}
	require.Equal(t, 200, ready)
	require.EqualValues(t, 400, got.Total(), "counts are of all")
}

func TestLongEndpointsStayWithinARecord(t *testing.T) {
	long := "a23456789012345678901234567890123456789012345678901234567890123"
	pods := make([]pod, 250)
	for i := range pods {
		pods[i] = pod{ip: fmt.Sprintf("fd00::%x", i+1), host: long, zone: long}
	}
	got := export.Build(export.Input{Service: service(headless), Slices: slicesOf(slice(pods...))}).Service
	require.NotEmpty(t, got.Endpoints)
	size := 0
	for _, e := range got.Endpoints {
		size += 16 + len(e.Hostname) + len(e.Zone)
	}
	require.Less(t, size, 12<<10, "a record is 16 KiB at most")
}
