package export_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/discovery/export"
	"github.com/isthmus-dns/isthmus/gossip/replica"
)

// longest is a host name of 251 octets.
func longest(i int) string {
	label := strings.Repeat("x", 60)
	return fmt.Sprintf("h%03d-%s.%s.%s.%s.xxxx", i, strings.Repeat("x", 58), label, label, label)
}

// crowded is a Gateway with many host names and addresses in its status.
func crowded(name string, hosts, addresses int) *export.Gateway {
	gw := &export.Gateway{}
	gw.Namespace, gw.Name = "infra", name
	gw.Status.Conditions = []export.Condition{{Type: "Programmed", Status: "True"}}
	for i := range hosts {
		gw.Status.Addresses = append(gw.Status.Addresses, export.GatewayAddress{Type: "Hostname", Value: longest(i)})
	}
	for i := range addresses {
		gw.Status.Addresses = append(gw.Status.Addresses, export.GatewayAddress{Value: fmt.Sprintf("2001:db8::%x", i+1)})
	}
	return gw
}

// widest is a cluster's record whose other fields are as long as may be.
func widest(sets []discovery.GatewaySet) *discovery.Cluster {
	label := strings.Repeat("x", discovery.MaxLabel)
	c := &discovery.Cluster{
		Name: label, UID: strings.Repeat("u", 128), Network: label, GatewaySets: sets,
		Locality: discovery.Locality{Region: label, Zone: label, Subzone: label},
	}
	for i := range discovery.MaxCIDRs {
		prefix := netip.MustParsePrefix(fmt.Sprintf("2001:db8:%x::/64", i))
		c.PodCIDRs, c.ServiceCIDRs = append(c.PodCIDRs, prefix), append(c.ServiceCIDRs, prefix)
	}
	return c
}

// TestSetsFitIntoTheRecord: whatever objects bring, the cluster's record can be
// published, and it is said that something is left out.
func TestSetsFitIntoTheRecord(t *testing.T) {
	for _, test := range []struct{ objects, hosts, addresses int }{
		{1, 64, 64}, {1, 0, 64}, {8, 64, 64}, {64, 64, 64}, {64, 0, 64},
	} {
		t.Run(fmt.Sprintf("%+v", test), func(t *testing.T) {
			var entries []export.SetEntry
			for i := range test.objects {
				entries = append(entries, export.SetEntry{
					Set: strings.Repeat("s", 60) + fmt.Sprint(i), From: export.FromGateway, Object: export.Object{Namespace: "infra", Name: fmt.Sprint("gw-", i)},
					Gateway: discovery.Gateway{Port: 65535, Weight: discovery.MaxWeight, Check: discovery.CheckTLS},
				})
			}
			in := export.SetInput{}
			in.Gateway = func(at export.Object) *export.Gateway { return crowded(at.Name, test.hosts, test.addresses) }
			sets, problems := export.GatewaySets(entries, in)
			require.Len(t, sets, test.objects)
			require.NoError(t, replica.Publishable(widest(sets)))
			require.True(t, export.Roomy(widest(sets)))
			if test.hosts == 0 {
				require.NotEmpty(t, sets[0].Gateways)
			}
			if test.hosts > 0 || test.objects > 8 {
				require.Contains(t, strings.Join(problems, "; "), "fit into the cluster's record")
			} else {
				require.Empty(t, problems)
			}
			again, _ := export.GatewaySets(entries, in)
			require.Equal(t, sets, again)
		})
	}
}

// TestSetsDontCrowdEachOtherOut: what an object may have does not depend on
// another one's addresses.
func TestSetsDontCrowdEachOtherOut(t *testing.T) {
	entries := []export.SetEntry{
		{Set: "a", From: export.FromGateway, Object: export.Object{Namespace: "infra", Name: "a"}},
		{Set: "b", From: export.FromGateway, Object: export.Object{Namespace: "infra", Name: "b"}},
	}
	sizes := map[string][2]int{"a": {0, 1}, "b": {1, 3}}
	in := export.SetInput{}
	in.Gateway = func(at export.Object) *export.Gateway { return crowded(at.Name, sizes[at.Name][0], sizes[at.Name][1]) }
	before, problems := export.GatewaySets(entries, in)
	require.Empty(t, problems)
	sizes["a"] = [2]int{64, 64}
	after, problems := export.GatewaySets(entries, in)
	require.Len(t, problems, 1)
	require.Equal(t, before[1], after[1])
}

// TestGatewaysOfAServiceFit: a status full of long host names costs the Service
// some of them, and not its record.
func TestGatewaysOfAServiceFit(t *testing.T) {
	var points []corev1.LoadBalancerIngress
	for i := range discovery.MaxGateways {
		points = append(points, point("", longest(i)))
	}
	got := export.Build(export.Input{Service: service(loadBalancer(points...), annotate(export.AnnotationExport, "true"))})
	require.NotNil(t, got.Service, got.Reason)
	require.Greater(t, len(got.Service.Gateways), 8)
	require.Less(t, len(got.Service.Gateways), 20)
	require.Contains(t, strings.Join(got.Problems, "; "), "gateways are used")
}

// TestEndpointsGiveWay: a headless Service with many Pods and long aliases
// carries fewer of them.
func TestEndpointsGiveWay(t *testing.T) {
	var pods []pod
	for i := range discovery.MaxEndpoints {
		pods = append(pods, pod{ip: fmt.Sprintf("10.1.0.%d", i+1), zone: strings.Repeat("z", 30)})
	}
	var aliases []string
	for i := range discovery.MaxAliases {
		aliases = append(aliases, longest(i))
	}
	got := export.Build(export.Input{
		Service: service(headless, annotate(export.AnnotationExport, "true", export.AnnotationAliases, strings.Join(aliases, ","))), Slices: slicesOf(slice(pods...)),
	})
	require.NotNil(t, got.Service, got.Problems)
	require.Len(t, got.Service.Aliases, discovery.MaxAliases)
	require.Greater(t, len(got.Service.Endpoints), 100)
	require.Less(t, len(got.Service.Endpoints), discovery.MaxEndpoints)
	require.EqualValues(t, discovery.MaxEndpoints, got.Service.Ready())
}

// TestRecordThatIsTooLong: its owner is told, rather than a publisher's log.
func TestRecordThatIsTooLong(t *testing.T) {
	got := export.Build(export.Input{Service: service(annotate(export.AnnotationExport, "true"), func(svc *corev1.Service) {
		svc.Spec.Ports = nil
		for i := range discovery.MaxPorts {
			svc.Spec.Ports = append(svc.Spec.Ports, corev1.ServicePort{Name: fmt.Sprintf("p%03d-%s", i, strings.Repeat("x", 58)), Port: int32(i + 1)})
		}
		var aliases []string
		for i := range discovery.MaxAliases {
			aliases = append(aliases, longest(i))
		}
		svc.Annotations[export.AnnotationAliases] = strings.Join(aliases, ",")
	})})
	require.Nil(t, got.Service)
	require.Equal(t, export.ReasonBeyondBounds, got.Reason)
	require.Contains(t, strings.Join(got.Problems, "; "), "name fewer aliases or ports")
}
