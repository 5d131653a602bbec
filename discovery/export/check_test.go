package export_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"pgregory.net/rapid"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/discovery/export"
	"github.com/isthmus-dns/isthmus/discovery/probe"
)

// vms is a slice whose machines serve at a port of the given name.
func vms(portName string, port int32, ips ...string) *discoveryv1.EndpointSlice {
	s := slice()
	for _, ip := range ips {
		s.Endpoints = append(s.Endpoints, slice(pod{ip: ip}).Endpoints...)
	}
	s.Ports = []discoveryv1.EndpointPort{{Name: &portName, Port: &port}}
	return s
}

// where are the endpoints of a check as "address:port", with port 0 for those
// that are not checked.
func where(c *discovery.EndpointCheck) []string {
	var out []string
	for _, e := range c.Endpoints {
		out = append(out, netip.AddrPortFrom(e.Addr, e.Port).String())
	}
	return out
}

func TestCheckAnnotation(t *testing.T) {
	type checked struct {
		check  discovery.Check
		secure bool
		path   string
		port   uint16
	}
	tests := map[string]checked{
		"tcp":                        {check: discovery.CheckTCP, port: 8080},
		"TCP":                        {check: discovery.CheckTCP, port: 8080},
		"tcp:5432":                   {check: discovery.CheckTCP, port: 5432},
		"tcp:admin":                  {check: discovery.CheckTCP, port: 9090},
		"tls":                        {check: discovery.CheckTLS, port: 8080},
		"tls:443":                    {check: discovery.CheckTLS, port: 443},
		"http":                       {check: discovery.CheckHTTP, port: 8080},
		"http:8080/healthz":          {check: discovery.CheckHTTP, path: "/healthz", port: 8080},
		"http/ready?full=1&a=b":      {check: discovery.CheckHTTP, path: "/ready?full=1&a=b", port: 8080},
		"http:admin/":                {check: discovery.CheckHTTP, path: "/", port: 9090},
		"https:8443/healthz/a:b%20c": {check: discovery.CheckHTTP, secure: true, path: "/healthz/a:b%20c", port: 8443},
		"HTTPS:http/x":               {check: discovery.CheckHTTP, secure: true, path: "/x", port: 8080},
	}
	for text, want := range tests {
		t.Run(text, func(t *testing.T) {
			s := vms("http", 8080, "192.0.2.1")
			s.Ports = append(s.Ports, vms("admin", 9090).Ports...)
			got := export.Build(export.Input{
				Service: service(annotate(export.AnnotationCheck, " "+text+"\n"), func(svc *corev1.Service) {
					svc.Spec.Ports = append(svc.Spec.Ports, corev1.ServicePort{Name: "admin", Port: 90})
				}),
				Slices: slicesOf(s),
			})
			require.Empty(t, got.Problems)
			require.NotNil(t, got.Check)
			require.Equal(t, want, checked{got.Check.Check, got.Check.Secure, got.Check.Path, got.Check.Endpoints[0].Port})
		})
	}
}

func TestCheckMistakes(t *testing.T) {
	selector := func(svc *corev1.Service) { svc.Spec.Selector = map[string]string{"app": "user"} }
	udp := func(svc *corev1.Service) { svc.Spec.Ports[0].Protocol = corev1.ProtocolUDP }
	all := func(svc *corev1.Service) { svc.Spec.PublishNotReadyAddresses = true }
	tests := []struct {
		name, text string
		edit       func(*corev1.Service)
		want       string // what the problem says, with the fix
	}{
		{name: "empty", text: "", want: "write for example tcp"},
		{name: "type", text: "ping", want: `"ping" is none of tcp, tls, http and https`},
		{name: "only a port", text: "8080", want: `"8080" is none of`},
		{name: "URL", text: "http://10.0.0.1:8080/healthz", want: "write http:PORT/PATH"},
		{name: "two slashes", text: "http:80//a", want: "write http:PORT/PATH"},
		{name: "path of tcp", text: "tcp:80/x", want: "remove it"},
		{name: "no port behind the colon", text: "tcp:", want: `"" is neither a port from 1 to 65535 nor a port's name`},
		{name: "port 0", text: "tcp:0", want: "neither a port"},
		{name: "port beyond", text: "tcp:65536", want: "neither a port"},
		{name: "two ports", text: "tcp:80:81", want: "neither a port"},
		{name: "unknown name", text: "tcp:web", want: `no TCP port "web": write one of its ports' names, or a number`},
		{name: "no TCP port", text: "tcp", edit: udp, want: "write a number behind the type, as in tcp:5432"},
		{name: "space in the path", text: "http/a b", want: "%20"},
		{name: "fragment", text: "http/a#b", want: "escape it"},
		{name: "percent", text: "http/100%", want: "%25"},
		{name: "long path", text: "http/" + strings.Repeat("x", 1024), want: "1025 octets, at most 1024"},
		{name: "selector", text: "tcp", edit: selector, want: "readiness probes decide: remove the annotation"},
		{name: "publishNotReadyAddresses", text: "tcp", edit: all, want: "remove one of the two"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			svc := service(annotate(export.AnnotationCheck, test.text))
			if test.edit != nil {
				test.edit(svc)
			}
			got := export.Build(export.Input{Service: svc, Slices: slicesOf(vms("http", 8080, "192.0.2.1"))})
			require.Nil(t, got.Check)
			require.Len(t, got.Problems, 1)
			require.Contains(t, got.Problems[0], "annotation isthmus.dev/check: endpoints are not checked: ")
			require.Contains(t, got.Problems[0], test.want)
			require.Equal(t, counts("", 1, 1), got.Service.Counts, "a mistake takes nothing out")
		})
	}
	t.Run("none is no mistake", func(t *testing.T) {
		got := export.Build(export.Input{Service: service(annotate(export.AnnotationCheck, "none")), Slices: slicesOf(vms("http", 8080, "192.0.2.1"))})
		require.Nil(t, got.Check)
		require.Empty(t, got.Problems)
	})
}

// TestCheckPorts: each slice says at which port its machines serve.
func TestCheckPorts(t *testing.T) {
	build := func(text string, slices ...*discoveryv1.EndpointSlice) export.Result {
		return export.Build(export.Input{Service: service(annotate(export.AnnotationCheck, text)), Slices: slices})
	}
	got := build("tcp", vms("http", 8080, "192.0.2.1", "192.0.2.2"), vms("http", 9090, "192.0.2.3", "192.0.2.1"))
	require.Empty(t, got.Problems)
	require.Equal(t, []string{"192.0.2.1:8080", "192.0.2.2:8080", "192.0.2.3:9090"}, where(got.Check))
	require.Equal(t, got.Check, build("tcp", vms("http", 9090, "192.0.2.3", "192.0.2.1"), vms("http", 8080, "192.0.2.1", "192.0.2.2")).Check)

	other := vms("web", 8080, "192.0.2.2")
	other.Name = "user-vms"
	got = build("tcp", vms("http", 8080, "192.0.2.1"), other)
	require.Equal(t, []string{"192.0.2.1:8080", "192.0.2.2:0"}, where(got.Check))
	require.Equal(t, []string{`annotation isthmus.dev/check: EndpointSlice user-vms has no TCP port "http", its endpoints are not checked: ` +
		`name the Service's port there, or write a number`}, got.Problems)

	got = build("tcp:7000", vms("http", 8080, "192.0.2.1"), other)
	require.Empty(t, got.Problems)
	require.Equal(t, []string{"192.0.2.1:7000", "192.0.2.2:7000"}, where(got.Check))
}

func TestCheckedAddresses(t *testing.T) {
	in := func(loopback bool) export.Result {
		return export.Build(export.Input{
			Service: service(annotate(export.AnnotationCheck, "tcp")),
			Slices: slicesOf(vms("http", 80, "10.1.0.1", "127.0.0.1", "169.254.169.254", "100.100.100.200", "168.63.129.16"),
				vms("http", 80, "::1", "fe80::1", "fd00:ec2::254", "fd00::1")),
			Opts: export.Options{AllowLoopback: loopback},
		})
	}
	ports := func(c *discovery.EndpointCheck) map[string]bool {
		out := map[string]bool{}
		for _, e := range c.Endpoints {
			out[e.Addr.String()] = e.Port != 0
		}
		return out
	}
	got := in(false)
	want := map[string]bool{
		"10.1.0.1": true, "127.0.0.1": false, "169.254.169.254": false, "100.100.100.200": false, "168.63.129.16": false,
		"::1": false, "fe80::1": false, "fd00:ec2::254": false, "fd00::1": true,
	}
	require.Equal(t, want, ports(got.Check))
	require.Len(t, got.Problems, 7)
	require.Contains(t, got.Problems, "annotation isthmus.dev/check: endpoint 169.254.169.254 is not checked: loopback, link-local and metadata addresses are not connected to")
	require.EqualValues(t, 5, got.Service.Total())

	want["127.0.0.1"], want["::1"] = true, true
	require.Equal(t, want, ports(in(true).Check))
}

func TestCheckedEndpointsAreBounded(t *testing.T) {
	var pods []pod
	for i := range export.MaxChecked + 3 {
		pods = append(pods, pod{ip: fmt.Sprintf("10.1.%d.%d", i/250, 1+i%250)})
	}
	got := export.Build(export.Input{Service: service(annotate(export.AnnotationCheck, "tcp:80")), Slices: slicesOf(slice(pods...))})
	checked := 0
	for _, e := range got.Check.Endpoints {
		if e.Port != 0 {
			checked++
		}
	}
	require.Equal(t, export.MaxChecked, checked)
	require.Len(t, got.Check.Endpoints, len(pods), "the rest still counts")
	require.Equal(t, []string{"annotation isthmus.dev/check: only 1024 of 1027 endpoints are checked: part them among several Services"}, got.Problems)
}

// TestRecountChangesNothing: what is counted anew without news is the record.
func TestRecountChangesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := anyInput(t)
		in.Service.Spec.PublishNotReadyAddresses = false
		in.Service.Annotations[export.AnnotationCheck] = "tcp:80"
		got, again := export.Build(in), export.Build(in)
		if got.Service == nil {
			return
		}
		var endpoints []discovery.Endpoint
		for _, e := range got.Check.Endpoints {
			endpoints = append(endpoints, e.Endpoint)
		}
		export.Recount(again.Service, endpoints)
		require.Equal(t, got.Service, again.Service)
	})
}

func TestRecount(t *testing.T) {
	build := func(edit ...func(*corev1.Service)) (*discovery.Service, []discovery.Endpoint) {
		got := export.Build(export.Input{
			Service: service(append(edit, annotate(export.AnnotationCheck, "tcp:80"))...),
			Slices:  slicesOf(slice(pod{ip: "192.0.2.1", zone: "a"}, pod{ip: "192.0.2.2", zone: "b"}), slice(pod{ip: "2001:db8::2", zone: "b"})),
		})
		var endpoints []discovery.Endpoint
		for _, e := range got.Check.Endpoints {
			e.Ready = e.Addr != netip.MustParseAddr("192.0.2.2")
			endpoints = append(endpoints, e.Endpoint)
		}
		return got.Service, endpoints
	}
	s, endpoints := build()
	export.Recount(s, endpoints)
	require.Equal(t, []discovery.ZoneCount{{Zone: "a", Ready: 1, Total: 1}, {Zone: "b", Ready: 1, Total: 1}}, s.Counts, "its other address is up")
	require.Nil(t, s.Endpoints)
	endpoints[2].Ready = false
	s, _ = build(headless)
	export.Recount(s, endpoints)
	require.Equal(t, []discovery.ZoneCount{{Zone: "a", Ready: 1, Total: 1}, {Zone: "b", Ready: 0, Total: 1}}, s.Counts)
	require.Equal(t, endpoints, s.Endpoints)
}

// FuzzCheck: whatever the annotation says can be checked, or is not.
func FuzzCheck(f *testing.F) {
	for _, text := range []string{"tcp", "http:8080/healthz?a=b", "https/%zz", "http://a", "tcp:x:/", "http:1/\x00", "HTTP:http/a#b", "tls:٣"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got := export.Build(export.Input{
			Service: service(annotate(export.AnnotationCheck, text)), Slices: slicesOf(vms("http", 8080, "192.0.2.1")),
		})
		require.Equal(t, counts("", 1, 1), got.Service.Counts)
		if got.Check == nil {
			require.Equal(t, !strings.EqualFold(strings.TrimSpace(text), "none"), len(got.Problems) == 1, got.Problems)
			return
		}
		require.Empty(t, got.Problems)
		e := got.Check.Endpoints[0]
		require.NoError(t, probe.Target{
			Cluster: "west", Addr: e.Addr, Port: e.Port, Check: got.Check.Check, Secure: got.Check.Secure, Path: got.Check.Path,
		}.Validate())
	})
}
