package export_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/isthmus-dns/isthmus/discovery/export"
)

// TestTypesAreTheAPIs reads what the Gateway API's own types write.
func TestTypesAreTheAPIs(t *testing.T) {
	same, selector := gatewayv1.NamespacesFromSame, gatewayv1.NamespacesFromSelector
	when := metav1.Now()
	conditions := []metav1.Condition{{Type: string(gatewayv1.GatewayConditionProgrammed), Status: metav1.ConditionTrue, Reason: "Programmed", LastTransitionTime: when}}
	var gw export.Gateway
	transcode(t, &gatewayv1.Gateway{
		ObjectMeta: metav1.ObjectMeta{Namespace: "infra", Name: "edge"},
		Spec: gatewayv1.GatewaySpec{Listeners: []gatewayv1.Listener{{
			Name: "web", Hostname: new(gatewayv1.Hostname("*.example.com")), Port: 443, Protocol: gatewayv1.HTTPSProtocolType,
			AllowedRoutes: &gatewayv1.AllowedRoutes{
				Namespaces: &gatewayv1.RouteNamespaces{From: &same}, Kinds: []gatewayv1.RouteGroupKind{{Kind: "HTTPRoute"}},
			},
		}, {Name: "selected", Port: 80, Protocol: gatewayv1.HTTPProtocolType, AllowedRoutes: &gatewayv1.AllowedRoutes{Namespaces: &gatewayv1.RouteNamespaces{From: &selector}}}}},
		Status: gatewayv1.GatewayStatus{
			Addresses:  []gatewayv1.GatewayStatusAddress{{Type: new(gatewayv1.HostnameAddressType), Value: "gw.example.net"}},
			Conditions: conditions,
			Listeners:  []gatewayv1.ListenerStatus{{Name: "web", AttachedRoutes: 2, Conditions: conditions}},
		},
	}, &gw)
	programmed := []export.Condition{{Type: "Programmed", Status: "True", Reason: "Programmed"}}
	require.Equal(t, "infra/edge", gw.Namespace+"/"+gw.Name)
	require.Equal(t, export.Listener{Name: "web", Hostname: "*.example.com", Port: 443, Protocol: "HTTPS", AllowedRoutes: gw.Spec.Listeners[0].AllowedRoutes}, gw.Spec.Listeners[0])
	require.Equal(t, "Same", gw.Spec.Listeners[0].AllowedRoutes.Namespaces.From)
	require.Equal(t, "HTTPRoute", gw.Spec.Listeners[0].AllowedRoutes.Kinds[0].Kind)
	require.Equal(t, "Selector", gw.Spec.Listeners[1].AllowedRoutes.Namespaces.From)
	require.Equal(t, export.GatewayStatus{
		Addresses: []export.GatewayAddress{{Type: "Hostname", Value: "gw.example.net"}}, Conditions: programmed,
		Listeners: []export.ListenerStatus{{Name: "web", AttachedRoutes: 2, Conditions: programmed}},
	}, gw.Status)

	parent := gatewayv1.ParentReference{
		Group: new(gatewayv1.Group(gatewayv1.GroupName)), Kind: new(gatewayv1.Kind("Gateway")), Namespace: new(gatewayv1.Namespace("infra")),
		Name: "edge", SectionName: new(gatewayv1.SectionName("web")), Port: new(gatewayv1.PortNumber(443)),
	}
	backend := gatewayv1.BackendRef{
		BackendObjectReference: gatewayv1.BackendObjectReference{
			Group: new(gatewayv1.Group("")), Kind: new(gatewayv1.Kind("Service")), Namespace: new(gatewayv1.Namespace("shop")), Name: "user", Port: new(gatewayv1.PortNumber(80)),
		},
		Weight: new(int32(3)),
	}
	wantParent := export.ParentRef{Group: new(export.GatewayGroup), Kind: new("Gateway"), Namespace: new("infra"), Name: "edge", SectionName: new("web"), Port: new(int32(443))}
	wantBackend := export.BackendRef{Group: new(""), Kind: new("Service"), Namespace: new("shop"), Name: "user", Port: new(int32(80)), Weight: new(int32(3))}
	common := gatewayv1.CommonRouteSpec{ParentRefs: []gatewayv1.ParentReference{parent}}
	status := gatewayv1.RouteStatus{Parents: []gatewayv1.RouteParentStatus{{ParentRef: parent, ControllerName: "c", Conditions: conditions}}}
	for kind, theirs := range map[string]any{
		"HTTPRoute": &gatewayv1.HTTPRoute{
			TypeMeta: metav1.TypeMeta{Kind: "HTTPRoute"},
			Spec: gatewayv1.HTTPRouteSpec{
				CommonRouteSpec: common, Hostnames: []gatewayv1.Hostname{"a.example.com"},
				Rules: []gatewayv1.HTTPRouteRule{{BackendRefs: []gatewayv1.HTTPBackendRef{{BackendRef: backend}}}},
			},
			Status: gatewayv1.HTTPRouteStatus{RouteStatus: status},
		},
		"GRPCRoute": &gatewayv1.GRPCRoute{
			TypeMeta: metav1.TypeMeta{Kind: "GRPCRoute"},
			Spec: gatewayv1.GRPCRouteSpec{
				CommonRouteSpec: common, Hostnames: []gatewayv1.Hostname{"a.example.com"},
				Rules: []gatewayv1.GRPCRouteRule{{BackendRefs: []gatewayv1.GRPCBackendRef{{BackendRef: backend}}}},
			},
			Status: gatewayv1.GRPCRouteStatus{RouteStatus: status},
		},
		"TLSRoute": &gatewayv1.TLSRoute{
			TypeMeta: metav1.TypeMeta{Kind: "TLSRoute"},
			Spec: gatewayv1.TLSRouteSpec{
				CommonRouteSpec: common, Hostnames: []gatewayv1.Hostname{"a.example.com"},
				Rules: []gatewayv1.TLSRouteRule{{BackendRefs: []gatewayv1.BackendRef{backend}}},
			},
			Status: gatewayv1.TLSRouteStatus{RouteStatus: status},
		},
		"TCPRoute": &gatewayv1.TCPRoute{
			TypeMeta: metav1.TypeMeta{Kind: "TCPRoute"},
			Spec:     gatewayv1.TCPRouteSpec{CommonRouteSpec: common, Rules: []gatewayv1.TCPRouteRule{{BackendRefs: []gatewayv1.BackendRef{backend}}}},
			Status:   gatewayv1.TCPRouteStatus{RouteStatus: status},
		},
		"UDPRoute": &gatewayv1.UDPRoute{
			TypeMeta: metav1.TypeMeta{Kind: "UDPRoute"},
			Spec:     gatewayv1.UDPRouteSpec{CommonRouteSpec: common, Rules: []gatewayv1.UDPRouteRule{{BackendRefs: []gatewayv1.BackendRef{backend}}}},
			Status:   gatewayv1.UDPRouteStatus{RouteStatus: status},
		},
	} {
		t.Run(kind, func(t *testing.T) {
			var r export.Route
			transcode(t, theirs, &r)
			require.Equal(t, kind, r.Kind)
			require.Equal(t, []export.ParentRef{wantParent}, r.Spec.ParentRefs)
			require.Equal(t, []export.RouteRule{{BackendRefs: []export.BackendRef{wantBackend}}}, r.Spec.Rules)
			require.Equal(t, []export.RouteParentStatus{{ParentRef: wantParent, Conditions: programmed}}, r.Status.Parents)
			if kind != "TCPRoute" && kind != "UDPRoute" {
				require.Equal(t, []string{"a.example.com"}, r.Spec.Hostnames)
			}
		})
	}

	var grant export.ReferenceGrant
	transcode(t, &gatewayv1.ReferenceGrant{Spec: gatewayv1.ReferenceGrantSpec{
		From: []gatewayv1.ReferenceGrantFrom{{Group: gatewayv1.GroupName, Kind: "HTTPRoute", Namespace: "infra"}},
		To:   []gatewayv1.ReferenceGrantTo{{Kind: "Service", Name: new(gatewayv1.ObjectName("user"))}},
	}}, &grant)
	require.Equal(t, "HTTPRoute of infra", grant.Spec.From[0].Kind+" of "+grant.Spec.From[0].Namespace)
	require.Equal(t, "Service user", grant.Spec.To[0].Kind+" "+*grant.Spec.To[0].Name)
}

func transcode(t *testing.T, theirs, ours any) {
	t.Helper()
	data, err := json.Marshal(theirs)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, ours))
}
