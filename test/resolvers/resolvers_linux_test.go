package resolvers

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// query is a row of the table.
type query struct {
	name string
	kind kind
	want string
	// search tells that only a search list leads to the name.
	search bool
	// unlike are resolvers that get something else, and what; see README.md.
	unlike map[string]string
}

// partial stands for some of the wanted addresses, at least one.
const partial = "a part"

var (
	user = "10.96.0.10"
	// musl before 1.2.4 has no TCP, and takes of a truncated answer what is there.
	truncated = map[string]string{"musl": partial}
)

func queries() []query {
	forty, hundred := join(many(40)), join(many(100))
	return []query{
		{name: "user-service.production.global", kind: both, want: user},
		{name: "user-service.production.global", kind: v4, want: user},
		{name: "user-service.production.global", kind: v6, want: nodata},
		{name: "user-service.production.global.", kind: both, want: user},
		{name: "user-service.production.global.", kind: v4, want: user},
		{name: "USER-Service.Production.GLOBAL", kind: both, want: user},
		{name: "USER-Service.Production.GLOBAL", kind: v4, want: user},
		{name: "west.user-service.production.global", kind: v4, want: user},
		{name: "users.global", kind: both, want: user},
		{name: "users.global", kind: v4, want: user},
		{name: "users.global", kind: v6, want: nodata},
		{name: "elsewhere.production.global", kind: both, want: "192.0.2.2"},
		{name: "elsewhere.production.global", kind: v4, want: "192.0.2.2"},
		{name: "six.production.global", kind: both, want: "fd00::6"},
		{name: "six.production.global", kind: v6, want: "fd00::6"},
		{name: "six.production.global", kind: v4, want: nodata},
		{name: "dual.production.global", kind: both, want: "10.96.0.7 fd00::7"},
		{name: "dual.production.global", kind: v4, want: "10.96.0.7"},
		{name: "dual.production.global", kind: v6, want: "fd00::7"},
		{name: "forty.production.global", kind: both, want: forty, unlike: truncated},
		{name: "forty.production.global", kind: v4, want: forty, unlike: truncated},
		{name: "hundred.production.global", kind: both, want: hundred, unlike: truncated},
		{name: "hundred.production.global", kind: v4, want: hundred, unlike: truncated},
		{name: "_http._tcp.elsewhere.production.global", kind: srv, want: "3 3 8080 east.elsewhere.production.global."},
		{name: "_grpc._tcp.elsewhere.production.global", kind: srv, want: nxdomain},
		{name: "nobody.production.global", kind: both, want: nxdomain},
		{name: "nobody.production.global", kind: v4, want: nxdomain},
		{name: "nobody.production.global.", kind: v6, want: nxdomain},
		{name: "production.global", kind: v4, want: nodata},
		{name: "kubernetes.default.svc.cluster.local", kind: both, want: "10.96.0.1"},
		{name: "kubernetes", kind: both, want: "10.96.0.1", search: true},
		{name: "kubernetes.default", kind: both, want: "10.96.0.1", search: true},
		{name: "kubernetes.default", kind: v4, want: "10.96.0.1", search: true},
		{name: "10.96.0.10", kind: ptr, want: "user-service.production.global"},
		{name: "192.0.2.2", kind: ptr, want: "east.gateway.global"},
		{name: "fd00::7", kind: ptr, want: "dual.production.global"},
		{name: "10.96.0.99", kind: ptr, want: nxdomain},
	}
}

// TestResolvers asks each question by each resolver.
func TestResolvers(t *testing.T) {
	needNamespace(t)
	_, _, anchor := startAgent(t)
	for _, r := range build(t, anchor) {
		t.Run(r.name, func(t *testing.T) {
			if missing := r.missing(); len(missing) > 0 {
				t.Skipf("not installed: %s (make tools)", strings.Join(missing, ", "))
			}
			for _, q := range queries() {
				if slices.Contains(r.kinds, q.kind) && (r.search || !q.search) && (r.name != "delv" || q.signed()) {
					q.check(t, r)
				}
			}
		})
	}
}

// signed tells whether the name lies in the zone that is signed.
func (q query) signed() bool { return q.kind != ptr && !strings.HasSuffix(q.name, ".local") }

func (q query) check(t *testing.T, r resolver) {
	t.Helper()
	got, want := r.ask(t, q.kind, q.name), q.want
	if other, ok := q.unlike[r.name]; ok {
		want = other
	}
	t.Logf("%-45s %-5s %s", q.name, q.kind, shorten(got))
	switch {
	case want == partial:
		full := strings.Fields(q.want)
		some := strings.Fields(got)
		require.NotEmpty(t, some)
		for _, a := range some {
			require.Contains(t, full, a, "%s %s", q.name, q.kind)
		}
	case got == none:
		require.Contains(t, []string{nodata, nxdomain}, want, "%s %s", q.name, q.kind)
	default:
		require.Equal(t, want, got, "%s %s", q.name, q.kind)
	}
}

// shorten keeps the log readable.
func shorten(got string) string {
	const most = 10
	if n := len(strings.Fields(got)); n > most {
		return fmt.Sprint(n, " addresses")
	}
	return got
}
