// Package examples_test runs the worked examples: their manifests in clusters
// of real watchers and agents, asked what their documentation says.
package examples_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/isthmus-dns/isthmus/test/cluster"
	"github.com/isthmus-dns/isthmus/test/kubetest"
)

func TestMain(m *testing.M) { cluster.Main(m) }

// addresses of the documentation: of each Service inside its cluster, and of
// its load balancers.
var addresses = map[string]struct {
	inside string
	at     map[string]string
}{
	"apollo-configservice": {"10.96.0.21", map[string]string{"central": "198.51.100.21", "east": "203.0.113.21"}},
	"apollo-adminservice":  {"10.96.0.22", map[string]string{"central": "198.51.100.22", "east": "203.0.113.22"}},
	"apollo-portal":        {"10.96.0.23", nil},
}

// applied are a file's objects as they are in a cluster a moment later: with
// what controllers add to Services. Replicas of each have so many ready Pods.
func applied(t *testing.T, file, in string, ready int) string {
	t.Helper()
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	objects, err := kubetest.Decode(data)
	require.NoError(t, err)
	var text strings.Builder
	add := func(object map[string]any) {
		out, err := yaml.Marshal(object)
		require.NoError(t, err)
		text.WriteString("---\n" + string(out))
	}
	for _, object := range objects {
		if object.GetKind() == "Service" {
			name := object.GetName()
			a := addresses[name]
			require.NotEmpty(t, a.inside, name)
			require.NoError(t, unstructured.SetNestedField(object.Object, a.inside, "spec", "clusterIP"))
			if at := a.at[in]; at != "" {
				require.Equal(t, "LoadBalancer", object.Object["spec"].(map[string]any)["type"])
				object.Object["status"] = map[string]any{"loadBalancer": map[string]any{"ingress": []any{map[string]any{"ip": at}}}}
			}
			add(slice(t, object, ready))
		}
		add(object.Object)
	}
	return text.String()
}

// slice is a Service's EndpointSlice.
func slice(t *testing.T, service *unstructured.Unstructured, ready int) map[string]any {
	t.Helper()
	ports, _, err := unstructured.NestedSlice(service.Object, "spec", "ports")
	require.NoError(t, err)
	port := ports[0].(map[string]any)
	endpoints := []any{}
	for _, address := range []string{"10.244.1.5", "10.244.2.5"}[:ready] {
		endpoints = append(endpoints, map[string]any{"addresses": []any{address}, "conditions": map[string]any{"ready": true}})
	}
	return map[string]any{
		"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
		"metadata": map[string]any{
			"name": service.GetName() + "-x", "namespace": service.GetNamespace(),
			"labels": map[string]any{"kubernetes.io/service-name": service.GetName()},
		},
		"addressType": "IPv4",
		"ports":       []any{map[string]any{"name": port["name"], "port": port["port"]}},
		"endpoints":   endpoints,
	}
}

// question is a line of README.md's table.
type question struct {
	name, kind string
	answers    map[string][]string // by cluster: each of these is right
}

var row = regexp.MustCompile("(?m)^\\| `([\\w.-]+)` \\| (A|SRV) \\| (.*) \\| (.*) \\| (.*) \\|$")

func questions(t *testing.T, file string) []question {
	t.Helper()
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	var all []question
	for _, m := range row.FindAllStringSubmatch(string(text), -1) {
		q := question{name: m[1], kind: m[2], answers: map[string][]string{}}
		for i, in := range []string{"west", "central", "east"} {
			q.answers[in] = strings.Split(m[3+i], " or ")
		}
		all = append(all, q)
	}
	require.Len(t, all, strings.Count(string(text), " | A | ")+strings.Count(string(text), " | SRV | "))
	require.NotEmpty(t, all)
	return all
}

// TestApollo: dig says what the documentation does, and so it does when one
// cluster's config servers are gone.
func TestApollo(t *testing.T) {
	clusters := cluster.New(t, "west", "central", "east")
	put := func(c *cluster.Cluster, file string, ready int) {
		require.NoError(t, cluster.Replace(filepath.Join(c.Dir, "manifests", file),
			applied(t, filepath.Join("apollo", file), c.Name, ready)))
	}
	west, central, east := clusters.Clusters[0], clusters.Clusters[1], clusters.Clusters[2]
	put(west, "portal.yaml", 1)
	put(central, "servers.yaml", 2)
	put(east, "servers.yaml", 2)
	clusters.Start()

	for _, q := range questions(t, filepath.Join("apollo", "README.md")) {
		clusters.Step(q.kind+" "+q.name, func(t *testing.T) {
			for _, c := range clusters.Clusters {
				for _, want := range q.answers[c.Name] {
					c.Answers(q.name, q.kind, want) // each of them comes up
				}
				a, err := c.Ask(cluster.Query{Name: q.name, Type: q.kind})
				require.NoError(t, err)
				require.Contains(t, q.answers[c.Name], a.String(), "in %s", c.Name)
			}
		})
	}
	clusters.Step("central's servers are gone", func(t *testing.T) {
		put(central, "servers.yaml", 0)
		for _, c := range []*cluster.Cluster{west, central} {
			const name, want = "apollo-configservice.apollo.global", "203.0.113.21"
			c.Answers("central."+name, "A", "NODATA") // it knows
			for range 20 {                            // by weight one in two would be central's
				a, err := c.Ask(cluster.Query{Name: name, Type: "A"})
				require.NoError(t, err)
				require.Equal(t, want, a.String())
			}
		}
	})
}
