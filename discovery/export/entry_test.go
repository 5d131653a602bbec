package export_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/discovery/export"
)

// entry is production/billing of that spec, which claims
// billing.production.global unless it names hosts.
func entry(t testing.TB, spec string, annotations ...string) *export.ServiceEntry {
	t.Helper()
	e := &export.ServiceEntry{ObjectMeta: metav1.ObjectMeta{
		Namespace: "production", Name: "billing", CreationTimestamp: metav1.NewTime(created),
		Annotations: map[string]string{export.AnnotationExport: "true"},
	}}
	require.NoError(t, yaml.UnmarshalStrict([]byte(spec), &e.Spec))
	if e.Spec.Hosts == nil {
		e.Spec.Hosts = []string{"billing.production.global"}
	}
	for i := 0; i < len(annotations); i += 2 {
		e.Annotations[annotations[i]] = annotations[i+1]
	}
	e.Bound(&export.Options{})
	return e
}

// machine is a WorkloadEntry of production.
func machine(t testing.TB, name, spec string) *export.WorkloadEntry {
	t.Helper()
	w := &export.WorkloadEntry{ObjectMeta: metav1.ObjectMeta{Namespace: "production", Name: name}}
	require.NoError(t, yaml.UnmarshalStrict([]byte(spec), &w.Spec))
	w.Bound()
	return w
}

func buildEntry(o export.Options, workloads []*export.WorkloadEntry, entries ...*export.ServiceEntry) export.EntryResult {
	return export.BuildEntry(export.EntryInput{
		Entries: entries, Service: export.Object{Namespace: "production", Name: "billing"},
		Workloads: func() []*export.WorkloadEntry { return workloads }, Opts: o,
	})
}

// shownEntry is a record in one line: ports, counts by zone, endpoints and
// gateways, of which those that aren't ready have a minus sign.
func shownEntry(s *discovery.Service) string {
	if s == nil {
		return ""
	}
	var out []string
	for _, p := range s.Ports {
		out = append(out, fmt.Sprintf("%s/%v:%d", p.Name, p.Protocol, p.Port))
	}
	for _, c := range s.Counts {
		out = append(out, fmt.Sprintf("%s=%d/%d", c.Zone, c.Ready, c.Total))
	}
	for _, e := range s.Endpoints {
		sign := "+"
		if !e.Ready {
			sign = "-"
		}
		out = append(out, fmt.Sprintf("%s%v@%s", sign, e.Addr, e.Zone))
	}
	if s.GatewaySet != "" {
		out = append(out, "set:"+s.GatewaySet)
	}
	for _, g := range s.Gateways {
		text := "via "
		for _, a := range g.Addresses {
			text += a.String()
		}
		text += g.Hostname
		if g.Port != 0 {
			text += fmt.Sprintf(":%d", g.Port)
		}
		if g.Weight != 0 {
			text += fmt.Sprintf("*%d", g.Weight)
		}
		out = append(out, text)
	}
	return strings.Join(out, " ")
}

const (
	http8080 = "ports: [{number: 80, name: http, protocol: HTTP, targetPort: 8080}]\n"
	internal = "location: MESH_INTERNAL\nresolution: STATIC\n"
	outside  = "resolution: STATIC\n"
	chosen   = "workloadSelector: {labels: {app: billing}}\n"
)

func TestServiceEntry(t *testing.T) {
	for name, test := range map[string]struct {
		spec        string
		annotations []string
		workloads   []*export.WorkloadEntry
		want        string
		reason      string
		problem     string // that is among them; "": there is none
	}{
		"of the mesh": {
			spec: internal + http8080 + "endpoints: [{address: 192.0.2.20, locality: us-west1/us-west1-a}, {address: 192.0.2.21, locality: us-west1/us-west1-b/rack-1}]",
			want: "http/tcp:8080 us-west1-a=1/1 us-west1-b=1/1 +192.0.2.20@us-west1-a +192.0.2.21@us-west1-b",
		},
		"outside of it": {
			spec: outside + http8080 + "endpoints: [{address: 192.0.2.21, weight: 3}, {address: '2001:db8::1'}, {address: 192.0.2.20, weight: 0}]",
			want: "http/tcp:8080 =2/2 +192.0.2.20@ +192.0.2.21@ +2001:db8::1@ via 192.0.2.20 via 192.0.2.21*3 via 2001:db8::1",
		},
		"DNS with addresses": {
			spec: "resolution: DNS\n" + http8080 + "endpoints: [{address: 192.0.2.20}]",
			want: "http/tcp:8080 =1/1 +192.0.2.20@ via 192.0.2.20",
		},
		"host names": {
			spec: "resolution: DNS\n" + http8080 + "endpoints: [{address: DB.example.com., locality: r/z}, {address: db.example.com, locality: r/z}]",
			want: "http/tcp:8080 z=1/1 via db.example.com",
		},
		"host name that is STATIC": {
			spec:   outside + http8080 + "endpoints: [{address: db.example.com}]",
			reason: export.ReasonNoneUsable, problem: "resolution STATIC",
		},
		"host name of the mesh": {
			spec:   "location: MESH_INTERNAL\nresolution: DNS\n" + http8080 + "endpoints: [{address: db.example.com}]",
			reason: export.ReasonNoneUsable, problem: "needs an address",
		},
		"host name that is one of ours": {
			spec:   "resolution: DNS\n" + http8080 + "endpoints: [{address: user.production.global}]",
			reason: export.ReasonNoneUsable, problem: "leads back",
		},
		"host that is looked up": {spec: "resolution: DNS\n" + http8080, reason: export.ReasonNoEndpoints},
		"no resolution":          {spec: http8080 + "endpoints: [{address: 192.0.2.20}]", reason: export.ReasonResolution},
		"no resolution, chosen":  {spec: http8080 + chosen, reason: export.ReasonResolution},
		"no ports":               {spec: outside + "endpoints: [{address: 192.0.2.20}]", reason: export.ReasonNoPorts},
		"port of an endpoint": {
			spec: internal + "ports: [{number: 80, name: http}]\nendpoints: [{address: 192.0.2.20, ports: {http: 9090, other: 1}}]",
			want: "http/tcp:9090 =1/1 +192.0.2.20@",
		},
		"ports that differ": {
			spec:    internal + http8080 + "endpoints: [{address: 192.0.2.20, ports: {http: 9090}}, {address: 192.0.2.21}, {address: 192.0.2.22}]",
			want:    "http/tcp:8080 =2/2 +192.0.2.21@ +192.0.2.22@",
			problem: "endpoint 192.0.2.20 listens at other ports than most",
		},
		"ports that differ, as many": {
			spec:    internal + http8080 + "endpoints: [{address: 192.0.2.20, ports: {http: 9090}}, {address: 192.0.2.21}]",
			want:    "http/tcp:8080 =1/1 +192.0.2.21@",
			problem: "endpoint 192.0.2.20",
		},
		"one address twice": {
			spec:    internal + http8080 + "endpoints: [{address: 192.0.2.20, ports: {http: 7070}}, {address: 192.0.2.20, ports: {http: 8080}}]",
			want:    "http/tcp:7070 =1/1 +192.0.2.20@",
			problem: "other ports",
		},
		"several ports": {
			spec: internal + "ports: [{number: 53, name: dns, protocol: UDP}, {number: 443, name: web, protocol: TLS}]\nendpoints: [{address: 192.0.2.20, ports: {web: 8443}}]",
			want: "dns/udp:53 web/tcp:8443 =1/1 +192.0.2.20@",
		},
		"port that is none": {
			spec:   internal + "ports: [{number: 80, name: http, targetPort: 70000}]\nendpoints: [{address: 192.0.2.20}]",
			reason: export.ReasonNoneUsable, problem: "70000",
		},
		"refused addresses": {
			spec: outside + http8080 + "endpoints: [{address: 127.0.0.1}, {address: 169.254.169.254}, {address: 10.244.1.2}, {address: 0.0.0.0}, " +
				"{address: 168.63.129.16}, {address: 'unix:///var/run/x'}, {weight: 1}, {address: 192.0.2.20}]",
			want:    "http/tcp:8080 =1/1 +192.0.2.20@ via 192.0.2.20",
			problem: "address 169.254.169.254 refused: link-local",
		},
		"all refused": {
			spec: outside + http8080 + "endpoints: [{address: 127.0.0.1}]", reason: export.ReasonNoneUsable, problem: "loopback",
		},
		"locality that is none": {
			spec: outside + http8080 + "endpoints: [{address: 192.0.2.20, locality: a/b/c/d}]",
			want: "http/tcp:8080 =1/1 +192.0.2.20@ via 192.0.2.20", problem: "locality",
		},
		"annotations": {
			spec:        outside + http8080 + "endpoints: [{address: 192.0.2.20}]",
			annotations: []string{export.AnnotationGateway, "203.0.113.1:443", export.AnnotationWeight, "x"},
			want:        "http/tcp:8080 =1/1 +192.0.2.20@ via 203.0.113.1:443", problem: "isthmus.dev/weight",
		},
		"gateway set": {
			spec:        outside + http8080 + "endpoints: [{address: 192.0.2.20}]",
			annotations: []string{export.AnnotationGateway, "set:edge"},
			want:        "http/tcp:8080 =1/1 +192.0.2.20@ set:edge",
		},
		"opted out": {
			spec:        outside + http8080 + "endpoints: [{address: 192.0.2.20}]",
			annotations: []string{export.AnnotationExport, "false"}, reason: export.ReasonOptedOut,
		},
		"unreadable": {
			spec:        outside + http8080 + "endpoints: [{address: 192.0.2.20}]",
			annotations: []string{export.AnnotationExport, "maybe"}, reason: export.ReasonUnreadable,
		},
		"another namespace's name": {
			spec:   "hosts: [billing.shop.global]\n" + outside + http8080 + "endpoints: [{address: 192.0.2.20}]",
			reason: export.ReasonNoEntry,
		},
		"chosen machines": {
			spec: internal + http8080 + chosen,
			workloads: []*export.WorkloadEntry{
				machine(t, "b", "{address: 192.0.2.21, labels: {app: billing, v: '2'}, locality: r/z2}"),
				machine(t, "a", "{address: 192.0.2.20, labels: {app: billing}, locality: r/z1}"),
				machine(t, "c", "{address: 192.0.2.22, labels: {app: cart}}"),
			},
			want: "http/tcp:8080 z1=1/1 z2=1/1 +192.0.2.20@z1 +192.0.2.21@z2",
		},
		"none chosen": {spec: internal + http8080 + chosen, want: "http/tcp:8080"},
		"selector without labels": {
			spec: internal + http8080 + "workloadSelector: {}", reason: export.ReasonEmptySelector,
			workloads: []*export.WorkloadEntry{machine(t, "a", "{address: 192.0.2.20}")},
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := export.Options{PodCIDRs: []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16")}}
			got := buildEntry(o, test.workloads, entry(t, test.spec, test.annotations...))
			require.Equal(t, test.reason, got.Reason, got.Problems)
			require.Equal(t, test.want, shownEntry(got.Service))
			if test.problem == "" {
				require.Empty(t, got.Problems)
			} else {
				require.Contains(t, strings.Join(got.Problems, "; "), test.problem)
			}
			if got.Service != nil {
				require.Equal(t, discovery.KindExternal, got.Service.Kind)
				require.Equal(t, created.Unix(), got.Service.ExportedAt)
			}
		})
	}
}

// TestMachineIsReady: by Istio's own verdict, if it has one or is to have one.
func TestMachineIsReady(t *testing.T) {
	for name, test := range map[string]struct {
		checked bool
		status  string
		want    string
	}{
		"unchecked":       {want: "1/1"},
		"healthy":         {status: "True", want: "1/1"},
		"unhealthy":       {status: "False", want: "0/1"},
		"not known":       {status: "Unknown", want: "0/1"},
		"not checked yet": {checked: true, want: "0/1"},
		"checked, well":   {checked: true, status: "True", want: "1/1"},
	} {
		t.Run(name, func(t *testing.T) {
			w := machine(t, "a", "{address: 192.0.2.20, labels: {app: billing}}")
			if test.checked {
				w.Annotations = map[string]string{export.AnnotationHealthChecks: "true"}
			}
			if test.status != "" {
				w.Status.Conditions = []export.Condition{{Type: "Healthy", Status: test.status}}
			}
			got := buildEntry(export.Options{}, []*export.WorkloadEntry{w}, entry(t, internal+http8080+chosen))
			require.Equal(t, test.want, fmt.Sprintf("%d/%d", got.Service.Ready(), got.Service.Total()))
		})
	}
}

// TestGatewaysOfMachines: those that are ready, else all: with none the
// cluster's own gateways would be asked for what is not behind them.
func TestGatewaysOfMachines(t *testing.T) {
	a := machine(t, "a", "{address: 192.0.2.20, labels: {app: billing}}")
	b := machine(t, "b", "{address: 192.0.2.21, labels: {app: billing}}")
	all := []*export.WorkloadEntry{a, b}
	e := entry(t, outside+http8080+chosen)
	sick := []export.Condition{{Type: "Healthy", Status: "False"}}
	a.Status.Conditions = sick
	require.Equal(t, "http/tcp:8080 =1/2 -192.0.2.20@ +192.0.2.21@ via 192.0.2.21", shownEntry(buildEntry(export.Options{}, all, e).Service))
	b.Status.Conditions = sick
	require.Equal(t, "http/tcp:8080 =0/2 -192.0.2.20@ -192.0.2.21@ via 192.0.2.20 via 192.0.2.21", shownEntry(buildEntry(export.Options{}, all, e).Service))
}

// TestSelectorLabels: those of the object and of its spec count, the object's
// first, and never those of another namespace.
func TestSelectorLabels(t *testing.T) {
	e := entry(t, internal+http8080+chosen)
	w := machine(t, "a", "{address: 192.0.2.20}")
	require.False(t, e.Selects(w))
	w.Labels = map[string]string{"app": "billing"}
	require.True(t, e.Selects(w))
	w.Spec.Labels = map[string]string{"app": "cart"}
	require.True(t, e.Selects(w))
	w.Labels["app"] = "cart"
	require.False(t, e.Selects(w))
	w.Labels["app"], w.Namespace = "billing", "shop"
	require.False(t, e.Selects(w))
}

func TestClaims(t *testing.T) {
	for host, want := range map[string]string{
		"billing.production.global":      "production/billing",
		"Billing.Production.GLOBAL.":     "production/billing",
		"billing.shop.global":            "shop/billing",
		"billing.production.mesh.test":   "production/billing",
		"*.production.global":            "",
		"west.billing.production.global": "",
		"production.global":              "",
		"global":                         "",
		"billing.production.example.com": "",
		"billing.productionglobal":       "",
		"":                               "",
		".global":                        "",
		"..global":                       "",
		strings.Repeat("x", 64) + ".production.global":     "",
		strings.Repeat("x.", 1<<16) + ".production.global": "",
		"billing.production.global.svc.cluster.local":      "",
		"b_x.production.global":                            "",
	} {
		e := &export.ServiceEntry{Spec: export.ServiceEntrySpec{Hosts: []string{host, host}}}
		e.Annotations = map[string]string{export.AnnotationExport: "true"}
		claims := e.Claims(&export.Options{Zones: []string{"global", "mesh.test"}})
		if want == "" {
			require.Empty(t, claims, host)
			continue
		}
		require.Len(t, claims, 1, host)
		require.Equal(t, want, claims[0].Service.String())
		require.Equal(t, host, claims[0].Host)
	}
}

// TestForeignName: nobody takes another namespace's name.
func TestForeignName(t *testing.T) {
	const foreign = "hosts: [user.shop.global]\n" + outside + http8080
	ask := func(e *export.ServiceEntry) export.EntryResult {
		return export.BuildEntry(export.EntryInput{Entries: []*export.ServiceEntry{e}, Service: export.Object{Namespace: "shop", Name: "user"}})
	}
	e := entry(t, foreign+"endpoints: [{address: 192.0.2.20}]")
	require.Equal(t, export.ReasonOtherSpace, ask(e).Reason)
	require.False(t, export.Intended(export.ReasonOtherSpace))
	require.Empty(t, e.Own(&export.Options{}))
}

// TestServiceEntryOfAMesh: one that leads a mesh's sidecars to another cluster
// looks like one to be exported, and is none.
func TestServiceEntryOfAMesh(t *testing.T) {
	e := entry(t, internal+http8080+"endpoints: [{address: 192.0.2.20, ports: {http: 15443}}]")
	delete(e.Annotations, export.AnnotationExport)
	require.False(t, e.Declared())
	require.Empty(t, e.Claims(&export.Options{}))
	got := buildEntry(export.Options{All: true}, nil, e)
	require.Nil(t, got.Service)
	require.Equal(t, export.ReasonNoEntry, got.Reason)
	e.Bound(&export.Options{})
	require.Empty(t, e.Spec, "nothing of it is kept")
}

// TestOldestServiceEntryWins: of those that can be exported.
func TestOldestServiceEntryWins(t *testing.T) {
	make := func(name string, age time.Duration, spec string) *export.ServiceEntry {
		e := entry(t, outside+http8080+spec)
		e.Name, e.CreationTimestamp = name, metav1.NewTime(created.Add(-age))
		return e
	}
	young := make("a", 0, "endpoints: [{address: 192.0.2.1}]")
	old := make("c", time.Hour, "endpoints: [{address: 192.0.2.2}]")
	same := make("b", time.Hour, "endpoints: [{address: 192.0.2.3}]")
	broken := make("d", 2*time.Hour, "endpoints: [{address: 127.0.0.1}]")
	all := []*export.ServiceEntry{young, old, same, broken, nil}
	for range 5 {
		got := buildEntry(export.Options{}, nil, all...)
		require.Equal(t, "b", got.Entry.Name)
		require.Equal(t, "192.0.2.3", got.Service.Endpoints[0].Addr.String())
		all = append(all[1:], all[0])
	}
	require.Equal(t, export.ReasonNoneUsable, buildEntry(export.Options{}, nil, broken).Reason)
}

func TestServiceEntryCheck(t *testing.T) {
	const two = internal + http8080 + "endpoints: [{address: 192.0.2.20, locality: r/z}, {address: 192.0.2.21}]"
	for name, test := range map[string]struct {
		spec, check, want, problem string
	}{
		"none":           {spec: two, check: "none"},
		"tcp":            {spec: two, check: "tcp", want: "tcp 192.0.2.20:8080 192.0.2.21:8080"},
		"a number":       {spec: two, check: "http:9000/up", want: "http 192.0.2.20:9000 192.0.2.21:9000"},
		"a name":         {spec: two, check: "http:http/up", want: "http 192.0.2.20:8080 192.0.2.21:8080"},
		"unknown name":   {spec: two, check: "http:web/up", problem: `no TCP port "web"`},
		"unreadable":     {spec: two, check: "ping", problem: "none of tcp"},
		"of a host name": {spec: "resolution: DNS\n" + http8080 + "endpoints: [{address: db.example.com}]", check: "tcp", problem: "have a host name"},
		"only UDP":       {spec: internal + "ports: [{number: 53, name: dns, protocol: UDP}]\nendpoints: [{address: 192.0.2.20}]", check: "tcp", problem: "no TCP port"},
	} {
		t.Run(name, func(t *testing.T) {
			got := buildEntry(export.Options{}, nil, entry(t, test.spec, export.AnnotationCheck, test.check))
			require.NotNil(t, got.Service)
			text := ""
			if got.Check != nil {
				text = got.Check.Check.String()
				var all []discovery.Endpoint
				for _, e := range got.Check.Endpoints {
					text += fmt.Sprintf(" %v:%d", e.Addr, e.Port)
					all = append(all, e.Endpoint)
				}
				again := *got.Service
				export.Recount(&again, all)
				require.Equal(t, *got.Service, again, "as it was built, until a check says otherwise")
			}
			require.Equal(t, test.want, text)
			require.Contains(t, strings.Join(got.Problems, "; "), test.problem)
		})
	}
}

// TestHugeServiceEntry: what one object makes others wait for is bounded, and
// its owner is told.
func TestHugeServiceEntry(t *testing.T) {
	e := entry(t, outside+http8080+"endpoints: [{address: 192.0.2.20}]")
	for i := range 5000 {
		e.Spec.Endpoints = append(e.Spec.Endpoints, export.Workload{Address: fmt.Sprintf("198.51.%d.%d", i/250, i%250+1), Labels: map[string]string{"a": "b"}})
		e.Spec.Ports = append(e.Spec.Ports, export.EntryPort{Name: fmt.Sprint("p", i), Number: int64(i + 1)})
		e.Spec.Hosts = append(e.Spec.Hosts, fmt.Sprintf("s%d.production.global", i), "www.example.com")
	}
	e.Bound(&export.Options{})
	require.Len(t, e.Spec.Hosts, 8)
	require.LessOrEqual(t, len(e.Spec.Endpoints), 1025)
	require.LessOrEqual(t, len(e.Spec.Ports), 33)
	got := buildEntry(export.Options{}, nil, e)
	require.NotNil(t, got.Service, got.Problems)
	require.EqualValues(t, 1024, got.Service.Total())
	require.Len(t, got.Service.Endpoints, discovery.MaxEndpoints)
	require.Len(t, got.Service.Ports, 32)
	for _, problem := range []string{"only the first 32 ports", "only the first 1024 endpoints", "gateways are used"} {
		require.Contains(t, strings.Join(got.Problems, "; "), problem)
	}

	selector := entry(t, internal+http8080+chosen)
	for i := range 100 {
		selector.Spec.WorkloadSelector.Labels[fmt.Sprint("l", i)] = "x"
	}
	selector.Bound(&export.Options{})
	require.Equal(t, export.ReasonEmptySelector, buildEntry(export.Options{}, nil, selector).Reason)

	unrelated := entry(t, "hosts: [www.example.com]\n"+outside+http8080+"endpoints: [{address: 192.0.2.20}]")
	require.Empty(t, unrelated.Spec)
}

// TestRecordStaysShort: endpoints give way to what can't be left out, also when
// they are counted anew.
func TestRecordStaysShort(t *testing.T) {
	e := entry(t, outside+http8080+"endpoints: [{address: 192.0.2.20}]", export.AnnotationCheck, "tcp")
	e.Spec.Endpoints = nil
	for i := range 250 {
		e.Spec.Endpoints = append(e.Spec.Endpoints, export.Workload{Address: fmt.Sprintf("2001:db8::%x", i+1), Locality: "r/" + strings.Repeat("z", 20)})
	}
	var aliases []string
	for i := range 20 {
		aliases = append(aliases, longest(i))
	}
	e.Annotations[export.AnnotationAliases] = strings.Join(aliases, ",")
	got := buildEntry(export.Options{}, nil, e)
	require.NotNil(t, got.Service, got.Problems)
	require.Less(t, len(got.Service.Endpoints), 250)
	require.NotEmpty(t, got.Service.Endpoints)
	require.EqualValues(t, 250, got.Service.Total())

	again := *got.Service
	var all []discovery.Endpoint
	for _, e := range got.Check.Endpoints {
		all = append(all, e.Endpoint)
	}
	export.Recount(&again, all)
	require.Equal(t, *got.Service, again)
}
