package manifest_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/discovery/manifest"
)

func write(t testing.TB, dir, name, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
}

func load(t testing.TB, files map[string]string) []string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		write(t, dir, name, text)
	}
	problems, err := manifest.Load(dir)
	require.NoError(t, err)
	var out []string
	for _, p := range problems {
		out = append(out, p.String())
	}
	return out
}

func TestLoadNamesFileAndLine(t *testing.T) {
	tests := []struct{ name, file, text, want string }{
		{"unknown field", "a.yaml", serviceYAML("user", "  prots: []\n"), `a.yaml:12: unknown field "spec.prots"`},
		{"unknown field in a list", "a.yaml", serviceYAML("user", "    - {name: dns, port: 53}\n    - name: x\n      prot: 1\n      port: 2\n"), `a.yaml:14: unknown field "spec.ports[2].prot"`},
		{"unknown field in the second document", "a.yml", docs(serviceYAML("user"), serviceYAML("order", "statos: {}\n")), `a.yml:24: unknown field "statos"`},
		{"unknown field of a known name in other letters", "a.yaml", strings.Replace(serviceYAML("user"), "clusterIP", "clusterip", 1), `a.yaml:9: unknown field "spec.clusterip"`},
		{"unknown field of a slice", "a.yaml", sliceYAML("user", 1) + "endpoint: []\n", `a.yaml:11: unknown field "endpoint"`},
		{"unknown field of an export", "a.yaml", "kind: ServiceExport\napiVersion: multicluster.x-k8s.io/v1beta1\nmetadata:\n  name: user\nspecs: {}\n", `a.yaml:5: unknown field "specs"`},
		{"unknown field in JSON", "a.json", "{\"apiVersion\": \"v1\", \"kind\": \"Service\",\n \"metadata\": {\"name\": \"user\"},\n \"spec\": {\n\t\"prots\": []}}", `a.json:4: unknown field "spec.prots"`},
		{"duplicate field", "a.yaml", serviceYAML("user", "  clusterIP: 10.96.0.8\n"), `a.yaml:12: duplicate field "spec.clusterIP"`},
		{"duplicate field with dots", "a.yaml", strings.Replace(serviceYAML("user"), "spec:", "    isthmus.dev/export: \"false\"\nspec:", 1), `a.yaml:8: duplicate field "metadata.annotations.isthmus.dev/export"`},
		{"number where a text is wanted", "a.yaml", strings.Replace(serviceYAML("user"), `"true"`, "true", 1), `a.yaml:7: field metadata.annotations: is a bool, want string (put it in quotes)`},
		{"text where a number is wanted", "a.yaml", strings.Replace(serviceYAML("user"), "port: 80", "port: http", 1), `a.yaml:11: field spec.ports.port: is a string, want int32`},
		{"list where a mapping is wanted", "a.yaml", "apiVersion: v1\nkind: Node\nmetadata:\n  name: a\nspec:\n  - x\n", `a.yaml:6: field spec: is a array, want v1.NodeSpec`},
		{"YAML syntax", "a.yaml", serviceYAML("user", "  selector: {a: b\n"), `a.yaml:12: did not find expected ',' or '}'`},
		{"indentation", "a.yaml", docs(serviceYAML("user"), serviceYAML("order", "   selector: {a: b}\n")), `a.yaml:24: did not find expected key`},
		{"indentation of a list", "a.yaml", docs(serviceYAML("user"), serviceYAML("order", "    selector: {a: b}\n")), `a.yaml:24: did not find expected '-' indicator`},
		{"tab", "a.yaml", "apiVersion: v1\nkind: Service\nmetadata:\n\tname: x\n", `a.yaml:4: found character that cannot start any token`},
		{"JSON syntax", "a.json", "{\"apiVersion\": \"v1\",\n\"kind\" \"Service\"}", `a.json:2: invalid character '"' after object key`},
		{"second JSON value", "a.json", "{\"apiVersion\": \"v1\", \"kind\": \"Pod\"}\n\n{,}", `a.json:3: invalid character ',' looking for beginning of object key string`},
		{"text", "a.yaml", "hello\n", `a.yaml:1: not a Kubernetes object`},
		{"no kind", "a.yaml", "---\napiVersion: v1\n", `a.yaml:2: not a Kubernetes object: apiVersion or kind is missing`},
		{"no name", "a.yaml", "apiVersion: v1\nkind: Node\n", `a.yaml:1: Node: metadata.name is empty`},
		{"name that is no label", "a.yaml", serviceYAML("User"), `a.yaml:4: Service: metadata.name is not a lower-case DNS label (a-z, 0-9 and inner '-')`},
		{"namespace that is no label", "a.yaml", strings.Replace(serviceYAML("user"), "production", "a.b", 1), `a.yaml:5: Service: metadata.namespace is not a lower-case DNS label (a-z, 0-9 and inner '-')`},
		{"slice of an old version", "a.yaml", "kind: EndpointSlice\napiVersion: discovery.k8s.io/v1beta1\n", `a.yaml:2: EndpointSlice of "discovery.k8s.io/v1beta1" is not known, want discovery.k8s.io/v1`},
		{"list item", "a.yaml", "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Node\n  metadata:\n    name: a\n    nome: b\n", `a.yaml:8: unknown field "metadata.nome"`},
		{"list that is none", "a.yaml", "apiVersion: v1\nkind: List\nitems: {}\n", `a.yaml:3: list items are not a list`},
		{"billion laughs", "a.yaml", laughs(), `a.yaml:2: aliases expand beyond all bounds`},
		{"slow merges", "a.yaml", slowMerges(), `a.yaml:3: aliases expand beyond all bounds`},
		{"alias within itself", "a.yaml", "a: &a\n  b: *a\n", `a.yaml:1: nested deeper than 100 levels`},
		{"deep", "a.yaml", strings.Repeat("[", 200) + strings.Repeat("]", 200), `a.yaml:1: nested deeper than 100 levels`},
		{"too many tokens", "a.yaml", strings.Repeat("[],", 300_001), `a.yaml: more than 600000 lines, commas and brackets: split it`},
		{"too large", "a.yaml", strings.Repeat("#", manifest.MaxFileSize+1), `a.yaml: has 8388609 octets, at most 8388608 are read`},
		{"key that is a list", "a.yaml", "? [a]\n: b\n", `a.yaml:1: a key must be a plain text`},
		{"infinity", "a.yaml", "apiVersion: v1\nkind: .inf\n", `a.yaml:2: .inf has no meaning in a manifest`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			require.Equal(t, []string{test.want}, load(t, map[string]string{test.file: test.text}))
		})
	}
}

// laughs is 20 levels of ten aliases each.
func laughs() string {
	var b strings.Builder
	b.WriteString("a0: &a0 [x]\n")
	for i := range 20 {
		level := string(rune('a' + i + 1))
		last := "a0"
		if i > 0 {
			last = string(rune('a'+i)) + "0"
		}
		b.WriteString(level + "0: &" + level + "0 [" + strings.Repeat("*"+last+",", 10) + "]\n")
	}
	return b.String()
}

// slowMerges gives no output but exponential work.
func slowMerges() string {
	var b strings.Builder
	b.WriteString("a: &a0 {x: y}\n")
	for i := range 29 {
		last := "a" + strings.Repeat("b", i)
		if i == 0 {
			last = "a0"
		}
		b.WriteString("k" + strings.Repeat("b", i+1) + ": &a" + strings.Repeat("b", i+1) + " {<<: [" + strings.Repeat("*"+last+",", 9) + "]}\n")
	}
	return b.String()
}

func TestLoadTakesWhatKubectlTakes(t *testing.T) {
	tests := map[string]string{
		"empty":             "",
		"comments":          "# nothing\n---\n# still nothing\n---\n",
		"byte order mark":   "\ufeff" + serviceYAML("user"),
		"windows lines":     strings.ReplaceAll(serviceYAML("user"), "\n", "\r\n"),
		"other kinds":       docs("apiVersion: apps/v1\nkind: Deployment\nanything: [goes]\n", "apiVersion: serving.knative.dev/v1\nkind: Service\nfoo: bar\n"),
		"anchors":           serviceYAML("user", "  selector: &s {app: user}\n") + docs("", serviceYAML("other", "  selector: {<<: {app: x}, tier: web}\n")),
		"old booleans":      serviceYAML("user", "  publishNotReadyAddresses: yes\n"),
		"numbers":           serviceYAML("user", "  healthCheckNodePort: 0x7530\n  sessionAffinityConfig: {clientIP: {timeoutSeconds: 1_0}}\n"),
		"timestamps":        strings.Replace(serviceYAML("user"), "  name:", "  creationTimestamp: 2024-01-02T03:04:05Z\n  name:", 1),
		"null":              serviceYAML("user", "  selector: null\nstatus: ~\n"),
		"export v1alpha1":   "apiVersion: multicluster.x-k8s.io/v1alpha1\nkind: ServiceExport\nmetadata: {name: user}\n",
		"export v1beta1":    "apiVersion: multicluster.x-k8s.io/v1beta1\nkind: ServiceExport\nmetadata: {name: user}\nspec: {exportedLabels: {a: b}}\nstatus: {conditions: []}\n",
		"list":              "apiVersion: v1\nkind: List\nmetadata: {resourceVersion: \"\"}\nitems:\n- apiVersion: v1\n  kind: Node\n  metadata: {name: a}\n- {apiVersion: v1, kind: Pod}\n",
		"list of nothing":   "apiVersion: v1\nkind: List\nitems:\n",
		"JSON in YAML":      `{"apiVersion": "v1", "kind": "Node", "metadata": {"name": "a"}}`,
		"slice of nobody":   "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: x}\naddressType: IPv4\nendpoints: []\n",
		"folded annotation": strings.Replace(serviceYAML("user"), "spec:", "    isthmus.dev/aliases: >-\n      a.example,\n      b.example\nspec:", 1),
	}
	for name, text := range tests {
		t.Run(name, func(t *testing.T) {
			require.Empty(t, load(t, map[string]string{"a.yaml": text}))
		})
	}
	t.Run("several JSON values", func(t *testing.T) {
		require.Empty(t, load(t, map[string]string{"a.json": "{\"apiVersion\":\"v1\",\"kind\":\"Pod\"}\n{\"apiVersion\":\"v1\",\n\t\"kind\":\"Node\",\"metadata\":{\"name\":\"\\ud83d\\ude00\"}}"}))
	})
}

func TestLoadReportsAllOfAFile(t *testing.T) {
	require.Equal(t, []string{
		`a.yaml:12: unknown field "spec.one"`, `a.yaml:13: unknown field "spec.two"`, `a.yaml:26: unknown field "three"`,
		`b.yaml:1: not a Kubernetes object`,
	}, load(t, map[string]string{
		"a.yaml": docs(serviceYAML("user", "  one: 1\n  two: 2\n"), serviceYAML("order", "three: 3\n")),
		"b.yaml": "[]", "c.txt": "{", ".d.yaml": "{",
	}))
}

func TestLoadReportsDuplicates(t *testing.T) {
	require.Equal(t, []string{
		"a.yaml:13: Service production/user is ignored here: a.yaml:1 has it too and its name sorts first",
		"b.yaml:2: Service production/user is ignored here: a.yaml:1 has it too and its name sorts first",
	}, load(t, map[string]string{
		"b.yaml": "---\n" + serviceYAML("user"),
		"a.yaml": docs(serviceYAML("user"), serviceYAML("user")),
		"c.yaml": serviceYAML("order"),
	}))
}

func TestLoadOfLinksPipesAndFolders(t *testing.T) {
	outside := t.TempDir()
	write(t, outside, "secret.yaml", "password")
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "folder.yaml"), 0o700))
	write(t, filepath.Join(dir, "folder.yaml"), "x.yaml", "{")
	require.NoError(t, os.Symlink(filepath.Join(outside, "secret.yaml"), filepath.Join(dir, "out.yaml")))
	require.NoError(t, os.Symlink("nowhere", filepath.Join(dir, "dangling.yaml")))
	require.NoError(t, os.Symlink("folder.yaml/x.yaml", filepath.Join(dir, "inside.yaml")))
	makePipe(t, filepath.Join(dir, "pipe.yaml"))
	problems, err := manifest.Load(dir)
	require.NoError(t, err)
	var got []string
	for _, p := range problems {
		got = append(got, p.String())
	}
	require.Equal(t, []string{
		"dangling.yaml: link: no such file or directory",
		"inside.yaml:1: did not find expected node content",
		"out.yaml: is a link that leaves the directory",
		"pipe.yaml: is not a regular file",
	}, got)
}

func TestLoadWithoutDirectory(t *testing.T) {
	_, err := manifest.Load(filepath.Join(t.TempDir(), "none"))
	require.ErrorIs(t, err, os.ErrNotExist)
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err = manifest.Load(file)
	require.Error(t, err)
}
