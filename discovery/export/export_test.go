package export_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/discovery/export"
)

func TestWhatIsExported(t *testing.T) {
	plain := func(svc *corev1.Service) { svc.Annotations = nil }
	mark := &export.Export{Namespace: "production", Name: "user", CreatedAt: created.Add(time.Hour)}
	tests := []struct {
		name   string
		svc    *corev1.Service
		export *export.Export
		all    bool
		want   string // the reason; "" means exported
	}{
		{"annotation true", service(), nil, false, ""},
		{"annotation in capitals", service(annotate(export.AnnotationExport, " True ")), nil, false, ""},
		{"nothing", service(plain), nil, false, export.ReasonNotDeclared},
		{"ServiceExport", service(plain), mark, false, ""},
		{"all", service(plain), nil, true, ""},
		{"all but opted out", service(annotate(export.AnnotationExport, "false")), nil, true, export.ReasonOptedOut},
		{"opted out wins over ServiceExport", service(annotate(export.AnnotationExport, "false")), mark, false, export.ReasonOptedOut},
		{"unreadable annotation under all", service(annotate(export.AnnotationExport, "nope")), nil, true, export.ReasonUnreadable},
		{"unreadable annotation with ServiceExport", service(annotate(export.AnnotationExport, "nope")), mark, false, ""},
		{"default/kubernetes under all", service(plain, named("default", "kubernetes")), nil, true, export.ReasonKubernetes},
		{"default/kubernetes by annotation", service(named("default", "kubernetes")), nil, false, ""},
		{"kubernetes elsewhere under all", service(plain, named("production", "kubernetes")), nil, true, ""},
		{"ExternalName", service(externalName), nil, false, export.ReasonExternalName},
		{"ExternalName under all", service(plain, externalName), nil, true, export.ReasonNotDeclared},
		{"being deleted", service(deleted), mark, true, export.ReasonBeingDeleted},
		{"name that is no label", service(named("production", "a.b")), nil, false, export.ReasonBadName},
		{"no Service", nil, mark, false, export.ReasonNoService},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := export.Build(export.Input{Service: test.svc, Export: test.export, Opts: export.Options{All: test.all}})
			require.Equal(t, test.want, got.Reason)
			require.Equal(t, test.want == "", got.Service != nil)
		})
	}
}

func externalName(svc *corev1.Service) { svc.Spec.Type = corev1.ServiceTypeExternalName }

func deleted(svc *corev1.Service) { svc.DeletionTimestamp = new(metav1.NewTime(created)) }

func named(namespace, name string) func(*corev1.Service) {
	return func(svc *corev1.Service) { svc.Namespace, svc.Name = namespace, name }
}

func TestRecordOfAService(t *testing.T) {
	got := export.Build(export.Input{
		Service: service(
			annotate(export.AnnotationWeight, "3", export.AnnotationAliases, "Shop.example.com., b.example.com ,shop.example.com,"),
			func(svc *corev1.Service) {
				svc.Spec.ClusterIPs = []string{"10.96.0.7", "fd00::7"}
				svc.Spec.SessionAffinity = corev1.ServiceAffinityClientIP
				svc.Spec.Ports = append(svc.Spec.Ports, corev1.ServicePort{Name: "dns", Protocol: corev1.ProtocolUDP, Port: 53})
			}),
		Slices: []*discoveryv1.EndpointSlice{slice(
			pod{ip: "10.1.0.2", zone: "zone-b"}, pod{ip: "10.1.0.1", zone: "zone-a"}, pod{ip: "10.1.0.3", zone: "zone-a", ready: new(false)})},
	})
	require.Empty(t, got.Problems)
	require.Equal(t, &discovery.Service{
		Namespace: "production", Name: "user", Kind: discovery.KindClusterIP,
		Ports: []discovery.Port{
			{Name: "http", Protocol: discovery.TCP, Port: 80},
			{Name: "dns", Protocol: discovery.UDP, Port: 53},
		},
		ClusterIPs:     addrs("10.96.0.7", "fd00::7"),
		Counts:         []discovery.ZoneCount{{Zone: "zone-a", Ready: 1, Total: 2}, {Zone: "zone-b", Ready: 1, Total: 1}},
		Weight:         3,
		Aliases:        []string{"b.example.com", "shop.example.com"},
		ClientAffinity: true,
		ExportedAt:     created.Unix(),
	}, got.Service)
}

func TestExportedAt(t *testing.T) {
	later := created.Add(time.Hour)
	build := func(svc *corev1.Service, e *export.Export) int64 {
		return export.Build(export.Input{Service: svc, Export: e}).Service.ExportedAt
	}
	require.Equal(t, later.Unix(), build(service(), &export.Export{CreatedAt: later}), "the ServiceExport's")
	require.Equal(t, created.Unix(), build(service(), nil), "the Service's")
	require.Equal(t, created.Unix(), build(service(), &export.Export{}), "a ServiceExport without a date")
	undated := service(func(svc *corev1.Service) { svc.CreationTimestamp = metav1.Time{} })
	require.Zero(t, build(undated, nil), "unknown")
}

func TestBadAnnotationsAreProblems(t *testing.T) {
	tests := []struct{ name, annotation, value, want string }{
		{"weight of words", export.AnnotationWeight, "heavy", `annotation isthmus.dev/weight: "heavy" is not a number from 1 to 1048576`},
		{"weight 0", export.AnnotationWeight, "0", `annotation isthmus.dev/weight: "0" is not a number from 1 to 1048576`},
		{"weight beyond bounds", export.AnnotationWeight, "1048577", `annotation isthmus.dev/weight: "1048577" is not a number from 1 to 1048576`},
		{"alias", export.AnnotationAliases, "a_b.example", `annotation isthmus.dev/aliases: host "a_b.example" has a label that is not a lower-case DNS label (a-z, 0-9 and inner '-')`},
		{"set", export.AnnotationGateway, "set:No Such", `annotation isthmus.dev/gateway: set "No Such" is not a lower-case DNS label (a-z, 0-9 and inner '-')`},
		{"gateway", export.AnnotationGateway, "192.0.2.999", `annotation isthmus.dev/gateway: host "192.0.2.999" ends in a number: neither a host name nor an IP address`},
		{"gateway port", export.AnnotationGateway, "192.0.2.1:http", `annotation isthmus.dev/gateway: "192.0.2.1:http" has no port from 1 to 65535 behind the colon`},
		{"gateway port 0", export.AnnotationGateway, "gw.example:0", `annotation isthmus.dev/gateway: "gw.example:0" has no port from 1 to 65535 behind the colon`},
		{"gateway bracket", export.AnnotationGateway, "[2001:db8::1", `annotation isthmus.dev/gateway: "[2001:db8::1" has no closing bracket`},
		{"gateway bracket with a name", export.AnnotationGateway, "[gw]:1", `annotation isthmus.dev/gateway: "[gw]:1" is not an IPv6 address in brackets`},
		{"gateway text behind bracket", export.AnnotationGateway, "[2001:db8::1]443", `annotation isthmus.dev/gateway: "[2001:db8::1]443" has text behind the bracket`},
		{"empty gateway", export.AnnotationGateway, " , ", `annotation isthmus.dev/gateway: names no gateway that can be used`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := export.Build(export.Input{Service: service(annotate(test.annotation, test.value))})
			require.NotNil(t, got.Service, "a bad annotation does not unexport")
			require.Equal(t, test.want, got.Problems[0])
			require.Zero(t, got.Service.Weight)
			require.Empty(t, got.Service.Aliases)
			require.Empty(t, got.Service.Gateways)
			require.Empty(t, got.Service.GatewaySet)
		})
	}
}

func TestPortsThatCannotBe(t *testing.T) {
	got := export.Build(export.Input{Service: service(func(svc *corev1.Service) {
		svc.Spec.Ports = []corev1.ServicePort{
			{Name: "quic", Protocol: "QUIC", Port: 443},
			{Name: "zero", Port: 0},
			{Name: "Big_Name", Port: 8080},
			{Name: "sctp", Protocol: corev1.ProtocolSCTP, Port: 36412},
		}
	})})
	require.Equal(t, []discovery.Port{
		{Protocol: discovery.TCP, Port: 8080},
		{Name: "sctp", Protocol: discovery.SCTP, Port: 36412},
	}, got.Service.Ports)
	require.Equal(t, []string{
		`port 443: protocol "QUIC" is unknown`, `port 0: not a port number`, `port 8080: name "Big_Name" is not a DNS label`,
	}, got.Problems)
}

func TestClusterLocality(t *testing.T) {
	in := func(region, zone string) *corev1.Node {
		return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{
			corev1.LabelTopologyRegion: region, corev1.LabelTopologyZone: zone,
		}}}
	}
	tests := []struct {
		name  string
		nodes []*corev1.Node
		want  string
	}{
		{"no nodes", nil, ""},
		{"one zone", []*corev1.Node{in("west", "west-a"), in("west", "west-a")}, "west/west-a"},
		{"two zones", []*corev1.Node{in("west", "west-a"), in("west", "west-b"), in("west", "west-a")}, "west"},
		{"commonest region", []*corev1.Node{in("east", "z"), in("west", "z"), in("west", "z")}, "west"},
		{"equal regions, first by name", []*corev1.Node{in("west", ""), in("east", "")}, "east"},
		{"node without labels", []*corev1.Node{in("west", "west-a"), {}, nil}, "west/west-a"},
		{"zone without region", []*corev1.Node{in("", "west-a")}, ""},
		{"label that is no label value", []*corev1.Node{in("west/x", "a"), in("-", "a")}, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := export.ClusterLocality(test.nodes)
			require.Equal(t, test.want, got.String())
			require.NoError(t, got.Validate())
		})
	}
}
