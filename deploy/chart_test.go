package deploy_test

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// hash is what kustomize appends to a generated ConfigMap's name.
var hash = regexp.MustCompile(`^(isthmus-\w+-config)-[a-z0-9]{10}$`)

// plain takes off what differs between the forms by their nature: kustomize's
// hashes in names, Helm's labels and its checksum in their place, and the
// comments of watcher.yaml.
func plain(t *testing.T, object *unstructured.Unstructured) map[string]any {
	t.Helper()
	object = object.DeepCopy()
	labels := object.GetLabels()
	delete(labels, "helm.sh/chart")
	delete(labels, "app.kubernetes.io/managed-by")
	object.SetLabels(labels)
	object.SetName(hash.ReplaceAllString(object.GetName(), "$1"))
	switch object.GetKind() {
	case "Deployment", "DaemonSet":
		unstructured.RemoveNestedField(object.Object, "spec", "template", "metadata", "annotations", "checksum/config")
		if a, _, _ := unstructured.NestedMap(object.Object, "spec", "template", "metadata", "annotations"); len(a) == 0 {
			unstructured.RemoveNestedField(object.Object, "spec", "template", "metadata", "annotations")
		}
		volumes, _, err := unstructured.NestedSlice(object.Object, "spec", "template", "spec", "volumes")
		require.NoError(t, err)
		for _, volume := range volumes {
			if config, ok := volume.(map[string]any)["configMap"].(map[string]any); ok {
				config["name"] = hash.ReplaceAllString(config["name"].(string), "$1")
			}
		}
		require.NoError(t, unstructured.SetNestedSlice(object.Object, volumes, "spec", "template", "spec", "volumes"))
	case "ConfigMap":
		data, _, err := unstructured.NestedStringMap(object.Object, "data")
		require.NoError(t, err)
		if text, ok := data["watcher.yaml"]; ok {
			var fields map[string]any
			require.NoError(t, yaml.Unmarshal([]byte(text), &fields))
			if fields["locality"] == "" {
				delete(fields, "locality") // as if left out
			}
			data["watcher.yaml"] = string(mustYAML(t, fields))
			require.NoError(t, unstructured.SetNestedStringMap(object.Object, data, "data"))
		}
	}
	return object.Object
}

// TestChartStandsAnywhere: in another namespace, by another release's name, the
// chart is the same, and nothing in it points to the namespace that it is not in.
func TestChartStandsAnywhere(t *testing.T) {
	here, err := helm(t, cluster...)
	require.NoError(t, err, here)
	args := []string{"template", "other-release", chart, "--namespace", "elsewhere"}
	for _, value := range cluster {
		args = append(args, "--set", value)
	}
	there, err := run(tool(t, "helm"), args...)
	require.NoError(t, err, there)
	require.NotContains(t, there, "other-release", "names don't depend on the release's")
	checksum := regexp.MustCompile(`checksum/config: \S+`)
	back := strings.NewReplacer("namespace: elsewhere", "namespace: isthmus", ".elsewhere.svc", ".isthmus.svc").Replace(there)
	require.Equal(t, checksum.ReplaceAllString(here, ""), checksum.ReplaceAllString(back, ""))
}

func mustYAML(t *testing.T, value any) []byte {
	t.Helper()
	text, err := yaml.Marshal(value)
	require.NoError(t, err)
	return text
}

func byName(t *testing.T, objects []*unstructured.Unstructured) map[string]map[string]any {
	t.Helper()
	out := map[string]map[string]any{}
	for _, object := range objects {
		p := plain(t, object)
		u := unstructured.Unstructured{Object: p}
		key := u.GetKind() + " " + u.GetName()
		require.NotContains(t, out, key)
		out[key] = p
	}
	return out
}

// TestChartIsTheBase: the chart yields, object by object, what the kustomize
// forms do, so that either's documentation and tests hold for both.
func TestChartIsTheBase(t *testing.T) {
	for _, tt := range []struct {
		name, folder string
		values       []string
		without      string // an object of the folder that the chart leaves to its user
	}{
		{"base", "base", nil, ""},
		{"cert-manager", "overlays/cert-manager", []string{"tls.certManager.enabled=true"}, "Issuer isthmus"},
		{"monitoring", "overlays/monitoring", []string{"serviceMonitor.enabled=true", "prometheusRule.enabled=true"}, ""},
		{"minimal", "overlays/minimal", []string{
			"watcher.replicas=1", "gossipService.type=NodePort", "gossipService.nodePort=30946",
			"gossip.advertise=192.0.2.11:30946", "gossip.join={198.51.100.11:30946}",
		}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			want := byName(t, kustomize(t, filepath.FromSlash(tt.folder)))
			delete(want, tt.without)
			got := byName(t, rendered(t, append(tt.values, "namespace.create=true")...))
			for name, object := range want {
				require.Contains(t, got, name)
				if name == "ConfigMap isthmus-watcher-config" && tt.name == "minimal" {
					continue // leaves fields at their defaults that the chart writes
				}
				require.Equal(t, string(mustYAML(t, object)), string(mustYAML(t, got[name])), name)
			}
			require.Len(t, got, len(want))
		})
	}
}

// TestChartRollsPods: a changed configuration is a changed Pod.
func TestChartRollsPods(t *testing.T) {
	checksums := func(values ...string) map[string]string {
		out := map[string]string{}
		for _, object := range rendered(t, values...) {
			if kind := object.GetKind(); kind == "Deployment" || kind == "DaemonSet" {
				sum, _, err := unstructured.NestedString(object.Object, "spec", "template", "metadata", "annotations", "checksum/config")
				require.NoError(t, err)
				require.Len(t, sum, 64)
				out[kind] = sum
			}
		}
		return out
	}
	before, watcher, agent := checksums(), checksums("routing.order=latency"), checksums("agent.zones={global,example.net}")
	require.NotEqual(t, before["Deployment"], watcher["Deployment"])
	require.Equal(t, before["DaemonSet"], watcher["DaemonSet"])
	require.Equal(t, before["Deployment"], agent["Deployment"])
	require.NotEqual(t, before["DaemonSet"], agent["DaemonSet"])
}

// TestValuesRefuseTypos: each mistake is found before anything is applied, and
// named.
func TestValuesRefuseTypos(t *testing.T) {
	for _, tt := range []struct{ value, want string }{
		{"wacher.replicas=3", "'wacher' not allowed"},
		{"watcher.replica=3", "'replica' not allowed"},
		{"watcher.replicas=three", "/watcher/replicas"},
		{"agent.zone=global", "'zone' not allowed"},
		{"clusterset=", "/clusterset"},
		{"cluster=West_1", "/cluster"},
		{"gossip.advertise=", "/gossip/advertise"},
		{"gossip.seeds={a}", "'seeds' not allowed"},
		{"gateways[0].adresses={192.0.2.1}", "'adresses' not allowed"},
		{"gateways[0].check.type=udp", "/gateways/0/check/type"},
		{"routing.order=latncy", "/routing/order"},
		{"routing.failover[0].too={a}", "'too' not allowed"},
		{"routing.services[0].order=latency", "'match'"},
		{"health.intervall=5s", "'intervall' not allowed"},
		{"import.clusters.denied={a}", "'denied' not allowed"},
		{"source.export=some", "/source/export"},
		{"image.tags=v1", "'tags' not allowed"},
		{"image.digest=sha256:12", "/image/digest"},
		{"gossipService.type=Loadbalancer", "/gossipService/type"},
		{"gossipService.nodePort=99999", "/gossipService/nodePort"},
		{"tls.certManager.enable=true", "'enable' not allowed"},
		{"networkPolicy.enabled=yes", "/networkPolicy/enabled"},
		{"serviceMonitor.enable=true", "'enable' not allowed"},
		{"namespace.name=other", "'name' not allowed"},
		{"watcher.resources.limits.memroy=1Gi", "'memroy' not allowed"},
		{"agent.resources.request.cpu=1", "'request' not allowed"},
		{"watcher.tolerations[0].opertor=Exists", "'opertor' not allowed"},
		{"agent.tolerations[0].effect=NoExec", "/agent/tolerations/0/effect"},
		{"watcher.affinity.podAntiAfinity.a=b", "'podAntiAfinity' not allowed"},
		{"agent.dnsConfig.nameserver={192.0.2.53}", "'nameserver' not allowed"},
		{"networkPolicy.metricsFrom[0].namespaceSelector.matchLabel.a=b", "'matchLabel' not allowed"},
		{"networkPolicy.metricsFrom[0].ipBlock.cdir=192.0.2.0/24", "'cdir' not allowed"},
		{"networkPolicy.dnsPorts={dns}", "/networkPolicy/dnsPorts/0"},
	} {
		t.Run(tt.value, func(t *testing.T) {
			out, err := helm(t, append(append([]string{}, cluster...), tt.value)...)
			require.Error(t, err, out)
			require.Contains(t, out, "don't meet the specifications of the schema")
			require.Contains(t, out, tt.want)
		})
	}
}

// TestValuesAreComplete: what values.yaml shows, the schema has, and the other
// way round, at every level that both name.
func TestValuesAreComplete(t *testing.T) {
	var values map[string]any
	readYAML(t, filepath.Join(chart, "values.yaml"), &values)
	var schema map[string]any
	readYAML(t, filepath.Join(chart, "values.schema.json"), &schema)
	properties := schema["properties"].(map[string]any)
	delete(properties, "global") // Helm's own
	same(t, "", values, schema)
}

// open are values whose fields are Kubernetes', or only shown in the reference
// of watcher.yaml.
var open = map[string]bool{
	".import": true, ".routing": true, ".health": true,
	".watcher.affinity": true, ".agent.affinity": true, ".agent.dnsConfig": true,
}

func same(t *testing.T, path string, values, schema map[string]any) {
	t.Helper()
	properties, _ := schema["properties"].(map[string]any)
	if open[path] || properties == nil {
		return
	}
	require.Equal(t, false, schema["additionalProperties"], "%s takes any field", path)
	for name := range properties {
		require.Contains(t, values, name, "%s.%s is not in values.yaml", path, name)
	}
	for name, value := range values {
		require.Contains(t, properties, name, "%s.%s is not in the schema", path, name)
		if inner, ok := value.(map[string]any); ok && !strings.HasSuffix(path, ".resources") {
			same(t, path+"."+name, inner, properties[name].(map[string]any))
		}
	}
}
