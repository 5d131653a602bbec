package isthmus

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseName(t *testing.T) {
	svc := func(kind nameKind, n name) name {
		n.kind, n.key, n.namespace = kind, "svc.ns", "ns"
		return n
	}
	tests := []struct {
		in   string
		want name
	}{
		{"", name{kind: nameApex}},
		{"ns", name{kind: nameNamespace, namespace: "ns"}},
		{"svc.ns", svc(nameService, name{})},
		{"c.svc.ns", svc(nameCluster, name{cluster: "c"})},
		{"h.c.svc.ns", svc(nameHost, name{cluster: "c", host: "h"})},
		{"x.h.c.svc.ns", svc(nameUnknown, name{})},
		{"15443.gateway.c.svc.ns", svc(nameGateway, name{cluster: "c", port: "15443"})},
		{"gateway.c.svc.ns", svc(nameHost, name{cluster: "c", host: "gateway"})},
		{"x.15443.gateway.c.svc.ns", svc(nameUnknown, name{})},
		{"gateway.svc.ns", svc(nameCluster, name{cluster: "gateway"})},
		{"_443._https.svc.ns", svc(namePort, name{port: "443", proto: "https"})},
		{"_https.c.svc.ns", svc(nameClusterProto, name{cluster: "c", proto: "https"})},
		{"_zone.svc.ns", svc(nameScopeParent, name{})},
		{"pin._zone.svc.ns", svc(nameScopeParent, name{})},
		{"prefer._region.c.svc.ns", svc(nameScopeParent, name{cluster: "c"})},
		{"hint._zone.svc.ns", svc(nameUnknown, name{})},
		{"a.hint._zone.svc.ns", svc(nameUnknown, name{})},
		{"a.b.pin._zone.svc.ns", svc(nameScope, name{host: "a.b"})},
		{"pin.pin._zone.svc.ns", svc(nameScope, name{host: "pin"})},
		{"a.prefer._region.c.svc.ns", svc(nameScope, name{cluster: "c", host: "a", region: true, prefer: true})},
		{"_http._tcp.a.pin._zone.svc.ns", svc(nameScope, name{host: "_http._tcp.a"})},
		{"_zone.ns", name{kind: nameService, key: "_zone.ns", namespace: "ns"}},
		{"_tcp.svc.ns", svc(nameProto, name{proto: "tcp"})},
		{"_http._sctp.svc.ns", svc(namePort, name{port: "http", proto: "sctp"})},
		{"_udp.c.svc.ns", svc(nameClusterProto, name{cluster: "c", proto: "udp"})},
		{"_http._udp.c.svc.ns", svc(nameClusterPort, name{cluster: "c", port: "http", proto: "udp"})},
		{"x._http._udp.c.svc.ns", svc(nameUnknown, name{})},
		{"x._http._tcp.svc.ns", svc(nameUnknown, name{})},
		{"_._tcp.svc.ns", svc(nameUnknown, name{})},
		{"http._tcp.svc.ns", svc(nameUnknown, name{})},
		{"_http._quic.svc.ns", svc(nameUnknown, name{})},
		{"_why.svc.ns", svc(nameWhy, name{})},
		{"x._why.svc.ns", svc(nameUnknown, name{})},
		{"_why.c.svc.ns", svc(nameUnknown, name{})},
		{"_why.ns", name{kind: nameService, key: "_why.ns", namespace: "ns"}},
		{"_clusters", name{kind: nameClusters}},
		{"dns-version", name{kind: nameVersion, namespace: "dns-version"}},
		{"dns", name{kind: nameServerParent, namespace: "dns"}},
		{"ns.dns", name{kind: nameServer, key: "ns.dns", namespace: "dns"}},
		{"x.ns.dns", name{kind: nameCluster, key: "ns.dns", namespace: "dns", cluster: "x"}},
	}
	for _, tc := range tests {
		t.Run(tc.in, func(t *testing.T) {
			require.Equal(t, tc.want, parseName(tc.in))
		})
	}
}

func TestParseNameAllocs(t *testing.T) {
	require.Zero(t, testing.AllocsPerRun(100, func() { parseName("_http._tcp.c.svc.ns") }))
}

func TestAliasOf(t *testing.T) {
	tests := []struct {
		in, host string
		want     name
	}{
		{"www.example", "www.example", name{kind: nameService}},
		{"_why.www.example", "www.example", name{kind: nameWhy}},
		{"_tcp.www.example", "www.example", name{kind: nameProto, proto: "tcp"}},
		{"_http._tcp.www.example", "www.example", name{kind: namePort, port: "http", proto: "tcp"}},
		{"_http.www.example", "_http.www.example", name{kind: nameService}},
		{"_tcp", "", name{kind: nameProto, proto: "tcp"}},
		{"_443._https.www.example", "www.example", name{kind: namePort, port: "443", proto: "https"}},
		{"_zone.www.example", "www.example", name{kind: nameScopeParent}},
		{"pin._zone.www.example", "www.example", name{kind: nameScopeParent}},
		{"a.b.pin._zone.www.example", "www.example", name{kind: nameScope, host: "a.b"}},
		{"a.prefer._region.www.example", "www.example", name{kind: nameScope, host: "a", region: true, prefer: true}},
		{"a.pin._zone.b.pin._zone.www.example", "www.example", name{kind: nameScope, host: "a.pin._zone.b"}},
		{"a.hint._zone.www.example", "www.example", name{}},
		{"a._zones.example", "a._zones.example", name{kind: nameService}},
		{"_zone", "", name{kind: nameScopeParent}},
	}
	for _, tc := range tests {
		t.Run(tc.in, func(t *testing.T) {
			n, host := aliasOf(tc.in)
			require.Equal(t, tc.want, n)
			require.Equal(t, tc.host, host)
		})
	}
}

func TestZoneMatch(t *testing.T) {
	zs := zones{newZone("global."), newZone("shop.global."), newZone("example.")}
	tests := []struct{ in, zone, rest string }{
		{"global.", "global.", ""},
		{"a.b.global.", "global.", "a.b"},
		{"a.shop.global.", "shop.global.", "a"},
		{"xglobal.", "", ""},
		{`a\.global.`, "", ""},
		{`a\\.global.`, "global.", `a\\`},
		{".", "", ""},
		{"", "", ""},
		{"obal.", "", ""},
	}
	for _, tc := range tests {
		t.Run(tc.in, func(t *testing.T) {
			z := zs.match(tc.in)
			if tc.zone == "" {
				require.Nil(t, z)
				return
			}
			require.Equal(t, tc.zone, z.origin)
			require.Equal(t, tc.rest, z.relative(tc.in))
		})
	}
}

// The parts of a name, put together again, are the name.
func FuzzParseName(f *testing.F) {
	for _, seed := range []string{
		"", "ns", "svc.ns", "c.svc.ns", "_http._tcp.svc.ns", "_why.svc.ns", "h.c.svc.ns", ".", "..", "a\\.b.ns", "_._._",
		"15443.gateway.c.svc.ns", "_443._https.svc.ns", "a.b.pin._zone.svc.ns", "a.prefer._region.c.svc.ns", "pin._zone.svc.ns", "._zone.svc.ns",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		n := parseName(in)
		joined := func(parts ...string) string { return strings.Join(parts, ".") }
		if n.key != "" {
			namespace, _ := n.key.Split()
			if !strings.Contains(namespace, ".") && strings.Count(string(n.key), ".") == 1 {
				require.Equal(t, n.namespace, namespace)
			}
		}
		switch n.kind {
		case nameService, nameServer:
			require.Equal(t, in, string(n.key))
		case nameNamespace, nameServerParent, nameVersion:
			require.Equal(t, in, n.namespace)
		case nameCluster:
			require.Equal(t, in, joined(n.cluster, string(n.key)))
		case nameHost:
			require.Equal(t, in, joined(n.host, n.cluster, string(n.key)))
		case namePort:
			require.Equal(t, in, joined("_"+n.port, "_"+n.proto, string(n.key)))
		case nameClusterPort:
			require.Equal(t, in, joined("_"+n.port, "_"+n.proto, n.cluster, string(n.key)))
		case nameGateway:
			require.Equal(t, in, joined(n.port, labelGatewayPort, n.cluster, string(n.key)))
		case nameScope:
			require.NotEmpty(t, n.host)
			require.True(t, strings.HasPrefix(in, n.host+"."))
			require.True(t, strings.HasSuffix(in, "."+string(n.key)))
		}
		aliasOf(in)
	})
}
