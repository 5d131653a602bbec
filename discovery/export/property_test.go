package export_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"pgregory.net/rapid"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/discovery/export"
)

// TestAnyInputGivesAValidRecord: whatever the objects say, the record keeps
// the model's bounds, and the order of the slices plays no role.
func TestAnyInputGivesAValidRecord(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := anyInput(t)
		got := export.Build(in)
		require.NotEqual(t, export.ReasonBeyondBounds, got.Reason, got.Problems)
		if got.Service == nil {
			require.NotEmpty(t, got.Reason)
			return
		}
		require.NoError(t, got.Service.Validate())
		require.Empty(t, got.Reason)
		require.LessOrEqual(t, got.Service.Ready(), got.Service.Total())

		turned := in
		turned.Slices = nil
		for i := range in.Slices {
			turned.Slices = append(turned.Slices, in.Slices[len(in.Slices)-1-i])
		}
		require.Equal(t, got.Service, export.Build(turned).Service)
	})
}

var (
	anyIP = rapid.SampledFrom([]string{
		"", "10.1.0.1", "10.1.0.2", "192.0.2.1", "192.0.2.2", "127.0.0.1", "0.0.0.0", "::", "224.0.0.1", "255.255.255.255",
		"fe80::1", "fe80::1%eth0", "fd00::1", "2001:db8::1", "::ffff:192.0.2.1", "::ffff:0.0.0.0", "x", "1.2.3", "None",
	})
	anyName = rapid.SampledFrom([]string{"", "node-1", "node-2", "zone-a", "A_b", "-", "a/b", "a.b", strings.Repeat("n", 64), "\xff"})
	anyBool = rapid.SampledFrom([]*bool{nil, new(true), new(false)})
)

func anyInput(t *rapid.T) export.Input {
	svc := service(func(svc *corev1.Service) {
		svc.Spec.Type = rapid.SampledFrom([]corev1.ServiceType{"", "ClusterIP", "NodePort", "LoadBalancer", "ExternalName", "X"}).Draw(t, "type")
		svc.Spec.ClusterIP = anyIP.Draw(t, "clusterIP")
		svc.Spec.ClusterIPs = rapid.SliceOfN(anyIP, 0, 4).Draw(t, "clusterIPs")
		svc.Spec.PublishNotReadyAddresses = rapid.Bool().Draw(t, "publish")
		svc.Spec.Ports = nil
		for range rapid.IntRange(0, 140).Draw(t, "ports") {
			svc.Spec.Ports = append(svc.Spec.Ports, corev1.ServicePort{
				Name:     anyName.Draw(t, "port"),
				Protocol: rapid.SampledFrom([]corev1.Protocol{"", "TCP", "UDP", "SCTP", "tcp"}).Draw(t, "protocol"),
				Port:     rapid.Int32Range(-1, 65536).Draw(t, "number"),
				NodePort: rapid.Int32Range(-1, 65536).Draw(t, "nodePort"),
			})
		}
		for range rapid.IntRange(0, 70).Draw(t, "points") {
			svc.Status.LoadBalancer.Ingress = append(svc.Status.LoadBalancer.Ingress, point(anyIP.Draw(t, "ip"), anyName.Draw(t, "host")))
		}
		if rapid.Bool().Draw(t, "gateway?") {
			svc.Annotations[export.AnnotationGateway] = strings.Join(rapid.SliceOfN(anyIP, 0, 70).Draw(t, "gateway"), ",")
		}
		svc.Annotations[export.AnnotationAliases] = strings.Join(rapid.SliceOfN(anyName, 0, 40).Draw(t, "aliases"), ",")
		svc.Annotations[export.AnnotationWeight] = rapid.StringMatching(`-?[0-9]{0,8}`).Draw(t, "weight")
	})
	var slices []*discoveryv1.EndpointSlice
	for range rapid.IntRange(0, 4).Draw(t, "slices") {
		var pods []pod
		for range rapid.IntRange(0, 8).Draw(t, "pods") {
			pods = append(pods, pod{
				ip: anyIP.Draw(t, "pod"), node: anyName.Draw(t, "node"), zone: anyName.Draw(t, "zone"), host: anyName.Draw(t, "hostname"),
				ready: anyBool.Draw(t, "ready"), serving: anyBool.Draw(t, "serving"), terminating: anyBool.Draw(t, "terminating"),
			})
		}
		slices = append(slices, slice(pods...))
	}
	return export.Input{
		Service: svc, Slices: slices,
		Nodes: nodesByName(
			node("node-1", anyIP.Draw(t, "internal"), external(rapid.SliceOfN(anyIP, 0, 70).Draw(t, "external")...)),
			node("node-2", "10.0.0.2")),
		Opts: export.Options{
			MaxNodes:      rapid.IntRange(-1, 200).Draw(t, "maxNodes"),
			SharesNetwork: rapid.Bool().Draw(t, "shares"),
			AllowLoopback: rapid.Bool().Draw(t, "loopback"),
			NodeAddresses: rapid.SampledFrom([]string{"", "External", "Internal", "X"}).Draw(t, "addresses"),
		},
	}
}

// FuzzAnnotations feeds Build what a user may write.
func FuzzAnnotations(f *testing.F) {
	f.Add("true", "192.0.2.1:443,[2001:db8::1]:8443,gw.example", "3", "a.example,b.example.")
	f.Add("false", "set:edge", "0", "")
	f.Add("", "[::1]:99999,::ffff:1.2.3.4,1.2.3.4:,:80,[]:1,%,fe80::1%25eth0", "1048577", "*.example,..,-")
	f.Add("TRUE", "set:", "１", strings.Repeat("x.", 300))
	f.Fuzz(func(t *testing.T, exported, gateway, weight, aliases string) {
		got := export.Build(export.Input{
			Service: service(annotate(export.AnnotationExport, exported, export.AnnotationGateway, gateway,
				export.AnnotationWeight, weight, export.AnnotationAliases, aliases)),
			Opts: export.Options{All: true},
		})
		if got.Service == nil {
			require.Contains(t, []string{export.ReasonOptedOut, export.ReasonUnreadable}, got.Reason, got.Problems)
			return
		}
		require.NoError(t, got.Service.Validate())
		require.LessOrEqual(t, len(got.Problems), 12)
		for _, g := range got.Service.Gateways {
			for _, a := range g.Addresses {
				require.True(t, a.IsGlobalUnicast(), a)
			}
		}
		require.LessOrEqual(t, len(got.Service.Aliases), discovery.MaxAliases)
	})
}

func BenchmarkBuild(b *testing.B) {
	pods := make([]pod, 100)
	for i := range pods {
		pods[i] = pod{ip: fmt.Sprintf("10.1.0.%d", i+1), node: "node-1", zone: "zone-a"}
	}
	in := export.Input{Service: service(nodePort), Slices: slicesOf(slice(pods...)), Nodes: nodesByName(node("node-1", "10.0.0.1"))}
	b.ReportAllocs()
	for b.Loop() {
		export.Build(in)
	}
}
