package manifest_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestChecksComeWithTheService: how endpoints are to be checked goes along, also
// when nothing else of the service has changed: the counts are the same for
// another machine.
func TestChecksComeWithTheService(t *testing.T) {
	database := func(check, ip string) string {
		return fmt.Sprintf(`apiVersion: v1
kind: Service
metadata:
  {namespace: vms, name: db, annotations: {isthmus.dev/export: "true", isthmus.dev/check: %q}}
spec: {clusterIP: 10.96.0.9, ports: [{port: 5432}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {namespace: vms, name: db-1, labels: {kubernetes.io/service-name: db}}
addressType: IPv4
ports: [{port: 5432}]
endpoints: [{addresses: [%s]}]
`, check, ip)
	}
	dir := t.TempDir()
	write(t, dir, "db.yaml", database("tcp", "192.0.2.1"))
	r := start(t, dir)
	r.until("db.vms=1")
	where := func() string {
		check := r.last().Checks["db.vms"]
		if check == nil || len(check.Endpoints) != 1 {
			return ""
		}
		return fmt.Sprintf("%s:%d%s", check.Endpoints[0].Addr, check.Endpoints[0].Port, check.Path)
	}
	require.Equal(t, "192.0.2.1:5432", where())
	for _, change := range []struct{ check, ip, want string }{
		{"tcp", "192.0.2.2", "192.0.2.2:5432"},
		{"http:80/healthz", "192.0.2.2", "192.0.2.2:80/healthz"},
		{"http://db", "192.0.2.2", ""},
	} {
		write(t, dir, "db.yaml", database(change.check, change.ip))
		require.Eventually(t, func() bool { return where() == change.want }, patience, time.Millisecond, change.want)
	}
	r.until("db.vms=1")
	r.untilLogged("service=db problems=\"annotation isthmus.dev/check: endpoints are not checked: \\\"http://db\\\" looks like a URL")
}
