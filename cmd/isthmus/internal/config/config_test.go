package config

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/discovery/export"
	"github.com/isthmus-dns/isthmus/discovery/probe"
	"github.com/isthmus-dns/isthmus/plugin/isthmus/locality"
	"github.com/stretchr/testify/require"
)

const whole = `clusterset: prod
cluster: west
network: vpc-1
locality: us-west1/us-west1-a
source:
  kubernetes: {kubeconfig: kube.conf, context: west, namespace: isthmus, zones: [global, Mesh.Example.]}
  export: all
gateways:
  - name: default
    addresses: [192.0.2.10, "2001:db8::10"]
    port: 15443
    zone: us-west1-a
    weight: 3
    check: {type: tls}
  - hostname: lb.example.net.
  - name: edge
    addresses: [192.0.2.20]
gossip: {listen: ":7000", advertise: 203.0.113.7:7946, join: [east.example.net, "[2001:db8::7]:7947"], siblings: [isthmus-peers.isthmus.svc]}
tls: {cert: west-watcher.crt, key: /etc/isthmus/west-watcher.key, ca: ../ca.crt}
import: {}
routing: {order: locality, affinity: none}
health: {}
state: state
http: 127.0.0.1:8081
`

func TestWhole(t *testing.T) {
	got, err := Parse("conf/watcher.yaml", []byte(whole))
	require.NoError(t, err)
	got.file, got.lines, got.entries = "", nil, nil
	require.Equal(t, &Config{
		Clusterset: "prod", Cluster: "west", Network: "vpc-1",
		Locality: discovery.Locality{Region: "us-west1", Zone: "us-west1-a"},
		Source: Source{
			Kubernetes: &KubernetesSource{Kubeconfig: "conf/kube.conf", Context: "west", Namespace: "isthmus", Zones: []string{"global", "mesh.example"}},
			Export:     ExportAll,
		},
		Gateways: []Gateway{
			{
				Name: "default", Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.10"), netip.MustParseAddr("2001:db8::10")},
				Port: 15443, Zone: "us-west1-a", Weight: 3, Check: discovery.CheckTLS,
			},
			{Name: "default", Hostname: "lb.example.net", Weight: 1, Check: discovery.CheckTCP},
			{Name: "edge", Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.20")}, Weight: 1, Check: discovery.CheckTCP},
		},
		Gossip: Gossip{
			Listen: ":7000", Advertise: "203.0.113.7:7946",
			Join:     []string{"east.example.net:7946", "[2001:db8::7]:7947"},
			Siblings: []string{"isthmus-peers.isthmus.svc:7946"},
		},
		TLS:    TLS{Cert: "conf/west-watcher.crt", Key: "/etc/isthmus/west-watcher.key", CA: "ca.crt"},
		Forget: 24 * time.Hour, Health: probe.DefaultHealth(),
		Routing: locality.Routing{Rules: locality.Rules{Order: locality.OrderLocality, Affinity: locality.AffinityNone}},
		State:   "conf/state", HTTP: "127.0.0.1:8081",
	}, got)
}

func TestDefaults(t *testing.T) {
	got, err := Parse("watcher.yaml", []byte("clusterset: prod\ncluster: west\nsource: {manifests: {dir: west}}\ninsecure: true\n"))
	require.NoError(t, err)
	got.file, got.lines, got.entries = "", nil, nil
	require.Equal(t, &Config{
		Clusterset: "prod", Cluster: "west", Insecure: true,
		Source: Source{Manifests: &ManifestSource{Dir: "west"}, Export: ExportDeclared},
		Gossip: Gossip{Listen: DefaultListen}, Forget: 24 * time.Hour, Health: probe.DefaultHealth(),
		State: DefaultState, HTTP: DefaultHTTP,
	}, got)
}

func TestGatewaySetsOfOneNameAreOneSet(t *testing.T) {
	c, err := Parse("watcher.yaml", []byte(whole))
	require.NoError(t, err)
	sets := c.GatewaySets()
	require.Len(t, sets, 2)
	require.Equal(t, "default", sets[0].Name)
	require.Len(t, sets[0].Gateways, 2)
	require.Equal(t, "edge", sets[1].Name)
	record := discovery.Cluster{Name: c.Cluster, Network: c.Network, Locality: c.Locality, GatewaySets: sets}
	require.NoError(t, record.Validate())
}

// TestGatewaysOfObjects: their addresses are the source's to find, so the sets
// that stand in the file have none of them.
func TestGatewaysOfObjects(t *testing.T) {
	c, err := Parse("watcher.yaml", []byte(strings.Join(base, "\n")+`
gateways:
- {service: istio-system/eastwest, port: 15443, check: {type: tls}}
- {name: edge, ingress: web/shop, zone: a}
- {name: edge, gateway: infra/edge.v2, weight: 3}
- {name: edge, addresses: [192.0.2.1]}
`))
	require.NoError(t, err)
	require.Equal(t, []export.SetEntry{
		{Set: "default", From: export.FromService, Object: export.Object{Namespace: "istio-system", Name: "eastwest"}, Gateway: discovery.Gateway{Port: 15443, Kind: discovery.GatewayStatic, Weight: 1, Check: discovery.CheckTLS}},
		{Set: "edge", From: export.FromIngress, Object: export.Object{Namespace: "web", Name: "shop"}, Gateway: discovery.Gateway{Kind: discovery.GatewayStatic, Zone: "a", Weight: 1, Check: discovery.CheckTCP}},
		{Set: "edge", From: export.FromGateway, Object: export.Object{Namespace: "infra", Name: "edge.v2"}, Gateway: discovery.Gateway{Kind: discovery.GatewayStatic, Weight: 3, Check: discovery.CheckTCP}},
		{Set: "edge", Gateway: discovery.Gateway{Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.1")}, Kind: discovery.GatewayStatic, Weight: 1, Check: discovery.CheckTCP}},
	}, c.Entries())
	sets := c.GatewaySets()
	require.Len(t, sets, 2)
	require.Empty(t, sets[0].Gateways)
	require.Len(t, sets[1].Gateways, 1)

	next, err := Parse("watcher.yaml", []byte(strings.Join(base, "\n")+"\ngateways: [{service: istio-system/other}]\n"))
	require.NoError(t, err)
	require.Equal(t, "istio-system/other", c.WithLive(next).Entries()[0].Object.String(), "they change while a watcher runs")
}

func TestNodeAddresses(t *testing.T) {
	for text, want := range map[string]string{"": "", ", nodes: internal": export.AddressesInternal, ", nodes: external": export.AddressesExternal} {
		c, err := Parse("watcher.yaml", []byte("clusterset: prod\ncluster: west\nsource: {kubernetes: {}"+text+"}\ninsecure: true\n"))
		require.NoError(t, err)
		require.Equal(t, want, c.Source.Nodes)
	}
}

// base is valid; a test's text replaces the fields it names.
var base = []string{"clusterset: prod", "cluster: west", "source: {kubernetes: {}}", "tls: {cert: c, key: k, ca: a}"}

func TestMistakes(t *testing.T) {
	for _, tt := range []struct {
		name string
		text string // lines that follow base
		want string // one line each
	}{
		{"unknown field", "localty: us-west1", `watcher.yaml:5: unknown field "localty": did you mean "locality"?`},
		{"unknown field by case", "Gateways: []", `watcher.yaml:5: unknown field "Gateways": did you mean "gateways"?`},
		{"unknown field by its beginning", "gate: []", `watcher.yaml:5: unknown field "gate": did you mean "gateways"?`},
		{"unknown field, none near", "replicas: 3", `watcher.yaml:5: unknown field "replicas": want one of clusterset, cluster, network, locality, source, gateways, gossip, tls, insecure, import, forget, routing, health, state, http`},
		{"unknown field deeper", "gossip:\n  listn: 1.2.3.4:1", `watcher.yaml:6: unknown field "listn" in gossip: did you mean "listen"?`},
		{"unknown field in a list", "gateways:\n- addresses: [192.0.2.1]\n  prot: 80", `watcher.yaml:7: unknown field "prot" in gateways[0]: did you mean "port"?`},
		{"merge key", "<<: {network: a}", `watcher.yaml:5: unknown field "<<": want one of clusterset, cluster, network, locality, source, gateways, gossip, tls, insecure, import, forget, routing, health, state, http`},
		{"twice", "network: a\nnetwork: b", `watcher.yaml:6: field "network" is already given in line 5: keep one`},
		{"a list for a text", "network: [a]", `watcher.yaml:5: network: want a text, got a list`},
		{"a number for a text", "network: 12", `watcher.yaml:5: network: want a text, got the number 12: write "12" in quotes`},
		{"a truth value for a text", "network: true", `watcher.yaml:5: network: want a text, got the truth value true: write "true" in quotes`},
		{"nothing for a text", "network:", `watcher.yaml:5: network: want a text, got nothing: give a value or remove the field`},
		{"a bad text", "network: a b", `watcher.yaml:5: network: "a b" wants at most 63 letters, digits and inner '-', '_' or '.'`},
		{"a slash", "network: a/b", `watcher.yaml:5: network: "a/b" wants letters, digits and inner '-', '_' or '.'`},
		{"alias", "network: &n a\nlocality: *n", `watcher.yaml:6: locality: alias *n is not supported: write the value out`},
		{"locality of four", "locality: a/b/c/d", `watcher.yaml:5: locality "a/b/c/d": has 4 segments, want region[/zone[/subzone]]: write region[/zone[/subzone]], as in us-west1/us-west1-a`},
		{"locality with a hole", "locality: us-west1//x", `watcher.yaml:5: locality "us-west1//x": segment "": is empty: write region[/zone[/subzone]], as in us-west1/us-west1-a`},
		{"locality with a space", "locality: us west", `watcher.yaml:5: locality "us west": segment "us west": wants letters, digits and inner '-', '_' or '.': write region[/zone[/subzone]], as in us-west1/us-west1-a`},
		{"not host:port", "http: here", `watcher.yaml:5: http: "here" is not host:port: write it like 203.0.113.7:7946 or [2001:db8::7]:7946`},
		{"bare IPv6", "gossip: {listen: \"2001:db8::1\"}", `watcher.yaml:5: gossip.listen: "2001:db8::1" is not host:port: write it like 203.0.113.7:7946 or [2001:db8::7]:7946`},
		{"port too high", "http: 127.0.0.1:70000", `watcher.yaml:5: http: "127.0.0.1:70000" has a bad port: want a number from 1 to 65535`},
		{"port by name", "http: 127.0.0.1:http", `watcher.yaml:5: http: "127.0.0.1:http" has a bad port: want a number from 1 to 65535`},
		{"mistyped address", "http: 127.0.0.256:80", `watcher.yaml:5: http: "127.0.0.256:80" has a bad host: it is neither an IP address nor a host name`},
		{"no host to advertise", "gossip: {advertise: \":7946\"}", `watcher.yaml:5: gossip.advertise: ":7946" has no host: write host:7946`},
		{"advertise nothing particular", "gossip: {advertise: 0.0.0.0:7946}", `watcher.yaml:5: gossip.advertise: "0.0.0.0:7946" is not an address that others can connect to`},
		{"join without advertise", "gossip:\n  join: [east]", `watcher.yaml:5: gossip.advertise is missing: add advertise: HOST:PORT, the address that other clusters reach this one by`},
		{"bad join", "gossip:\n  advertise: a:1\n  join:\n  - east.example.net\n  - West_:1", `watcher.yaml:9: gossip.join[1]: "West_:1" has a bad host: label "West_" is not a lower-case DNS label (a-z, 0-9 and inner '-')`},
		{"join is no list", "gossip: {advertise: \"a:1\", join: east}", `watcher.yaml:5: gossip.join: want a list, got the text "east": write join: [...]`},
		{"siblings without advertise", "gossip:\n  siblings: [peers]", `watcher.yaml:5: gossip.advertise is missing: add advertise: HOST:PORT, the address that other clusters reach this one by`},
		{"bad sibling", "gossip:\n  advertise: a:1\n  siblings:\n  - peers\n  - peers:0", `watcher.yaml:9: gossip.siblings[1]: "peers:0" has a bad port: want a number from 1 to 65535`},
		{"sibling everywhere", "gossip:\n  advertise: a:1\n  siblings: [peers, 0.0.0.0]", `watcher.yaml:7: gossip.siblings: "0.0.0.0:7946" is not an address that can be connected to`},
		{"joins everywhere", "gossip:\n  advertise: a:1\n  join: ['[::]:1']", `watcher.yaml:7: gossip.join: "[::]:1" is not an address that can be connected to`},
		{"siblings are no list", "gossip: {advertise: \"a:1\", siblings: peers}", `watcher.yaml:5: gossip.siblings: want a list, got the text "peers": write siblings: [...]`},
		{"gossip is no mapping", "gossip: 7946", `watcher.yaml:5: gossip: want fields, got the number 7946`},
		{"gateway without an address", "gateways:\n- name: default", `watcher.yaml:6: gateways[0]: has no address: give addresses, hostname, service, ingress or gateway`},
		{"gateway with two", "gateways:\n- {addresses: [192.0.2.1], hostname: a.example}", `watcher.yaml:6: gateways[0]: has addresses and hostname: give one of them`},
		{"gateway address with a port", "gateways:\n- addresses: [\"192.0.2.1:80\"]", `watcher.yaml:6: gateways[0].addresses[0]: "192.0.2.1:80" is not an IP address: a name goes to hostname, a port to port`},
		{"gateway address of nobody", "gateways:\n- addresses: [0.0.0.0]", `watcher.yaml:6: gateways[0].addresses[0]: "0.0.0.0" is not an address that others can connect to: give a plain unicast address`},
		{"gateway address that is link-local", "gateways:\n- addresses: [169.254.1.1]", `watcher.yaml:6: gateways[0].addresses[0]: "169.254.1.1" is not an address that others can connect to: give a plain unicast address`},
		{"gateway hostname is an address", "gateways:\n- hostname: 192.0.2.1", `watcher.yaml:6: gateways[0].hostname: "192.0.2.1" is an IP address: give it in addresses`},
		{"gateway port", "gateways:\n- addresses: [192.0.2.1]\n  port: 65536", `watcher.yaml:7: gateways[0].port: want a number from 1 to 65535, got 65536`},
		{"gateway port in quotes", "gateways:\n- addresses: [192.0.2.1]\n  port: \"80\"", `watcher.yaml:7: gateways[0].port: want a number from 1 to 65535, got the text "80"`},
		{"gateway weight", "gateways:\n- addresses: [192.0.2.1]\n  weight: -1", `watcher.yaml:7: gateways[0].weight: want a number from 1 to 1048576, got -1`},
		{"gateway check", "gateways:\n- addresses: [192.0.2.1]\n  check: {type: htp}", `watcher.yaml:7: gateways[0].check.type: unknown value "htp": did you mean "http"?`},
		{"gateway check, none near", "gateways:\n- addresses: [192.0.2.1]\n  check: {type: ping}", `watcher.yaml:7: gateways[0].check.type: unknown value "ping": want one of tcp, tls, http, none`},
		{"gateway with address and object", "gateways:\n- {addresses: [192.0.2.1], service: istio-system/ingress}", `watcher.yaml:6: gateways[0]: has addresses and service: give one of them`},
		{"gateway of an object without a namespace", "gateways:\n- service: ingress", `watcher.yaml:6: gateways[0].service: "ingress" wants namespace/name`},
		{"bad kubeconfig", "state: \"a\\0b\"", `watcher.yaml:5: state: "a\x00b" is not a file name`},
		{"gateway set name", "gateways:\n- {name: A, addresses: [192.0.2.1]}", `watcher.yaml:6: gateways[0].name: "A" is not a lower-case DNS label (a-z, 0-9 and inner '-')`},
		{"insecure and tls", "insecure: true", `watcher.yaml:5: insecure: true goes without tls: remove one of them`},
		{"insecure is no truth value", "insecure: yes please", `watcher.yaml:5: insecure: want true or false, got the text "yes please"`},
		{"import of a list", "import: {clusters: [east]}", `watcher.yaml:5: import.clusters: want fields, got a list`},
		{"import, unknown", "import:\n  quotas: 5", `watcher.yaml:6: unknown field "quotas" in import: want one of clusters, rules`},
		{"import, pattern", "import:\n  clusters:\n    allow: [West, a.b]", `watcher.yaml:7: import.clusters.allow[0]: "West" wants lower-case letters, digits, '-', and '*' for any text
watcher.yaml:7: import.clusters.allow[1]: "a.b" wants lower-case letters, digits, '-', and '*' for any text`},
		{"import, star without quotes", "import: {clusters: {deny: [*]}}", "watcher.yaml:5: not YAML: did not find expected alphabetic or numeric character"},
		{"import of no cluster", "import:\n  clusters: {allow: []}", `watcher.yaml:6: import.clusters.allow: is empty: give patterns, or remove the field to accept every cluster`},
		{"import rule, no namespace", "import:\n  rules:\n  - {clusters: [a], namespaces: []}", `watcher.yaml:7: import.rules[0].namespaces: is empty: give patterns, or remove the field to accept every namespace`},
		{"import rule for nobody", "import:\n  rules:\n  - services: 5", `watcher.yaml:7: import.rules[0].clusters is missing: add clusters: ["*"], or patterns of the clusters that the rule is for`},
		{"import rule, misspelt", "import:\n  rules:\n  - clusters: [a]\n    service: 5", `watcher.yaml:8: unknown field "service" in import.rules[0]: did you mean "services"?`},
		{"import rule, none", "import:\n  rules:\n  - {clusters: [a], services: 0}", `watcher.yaml:7: import.rules[0].services: want a number from 1 to 1073741824, got 0`},
		{"import rule, octets", "import:\n  rules:\n  - {clusters: [a], octets: 4MB}", `watcher.yaml:7: import.rules[0].octets: "4MB" is no size: want a number of octets up to 1073741824, or one of KiB, MiB or GiB as in 4MiB`},
		{"import rule, octets out of range", "import:\n  rules:\n  - {clusters: [a], octets: 17179869184GiB}", `watcher.yaml:7: import.rules[0].octets: "17179869184GiB" is no size: want a number of octets up to 1073741824, or one of KiB, MiB or GiB as in 4MiB`},
		{"import rule, aliases", "import:\n  rules:\n  - {clusters: [a], aliases: no}", `watcher.yaml:7: import.rules[0].aliases: want true or false, got the text "no"`},
		{"forget too soon", "forget: 1m", `watcher.yaml:5: forget: want a time from 10m to 8760h, written like 24h or 30m, got "1m"`},
		{"forget without a unit", "forget: 24", `watcher.yaml:5: forget: want a time from 10m to 8760h, written like 24h or 30m, got "24"`},
		{"empty file name", "state: \"\"", `watcher.yaml:5: state: "" is not a file name`},
		{"not YAML", "network: [a", "watcher.yaml:5: not YAML: did not find expected ',' or ']'"},
		{"not YAML, tab", "gossip:\n\tlisten: a", "watcher.yaml:6: not YAML: found character that cannot start any token"},
		{"two documents", "---\ncluster: east", "watcher.yaml:5: a second document begins here: give one"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := strings.Join(base, "\n") + "\n" + tt.text + "\n"
			_, err := Parse("watcher.yaml", []byte(text))
			require.EqualError(t, err, tt.want)
		})
	}
}

func TestWhatIsMissing(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"all", "network: a", `watcher.yaml:1: clusterset is missing: add clusterset: prod
watcher.yaml:1: cluster is missing: add cluster: west
watcher.yaml:1: source is missing: add source: {kubernetes: {}} or source: {manifests: {dir: DIR}}
watcher.yaml:1: tls is missing: add tls: {cert: FILE, key: FILE, ca: FILE}, or insecure: true for plain text`},
		{"file is empty", "# nothing\n", "watcher.yaml: is empty: give at least clusterset, cluster, source and tls"},
		{"file is null", "~", "watcher.yaml: is empty: give at least clusterset, cluster, source and tls"},
		{"file is a list", "- a", "watcher.yaml:1: want fields, got a list"},
		{"no source named", "clusterset: prod\ncluster: west\ninsecure: true\nsource: {export: all}", "watcher.yaml:4: source: names none: give kubernetes: {} or manifests: {dir: DIR}"},
		{"two sources", "clusterset: prod\ncluster: west\ninsecure: true\nsource: {kubernetes: {}, manifests: {dir: a}}", "watcher.yaml:4: source: has kubernetes and manifests: give one of them"},
		{"no folder", "clusterset: prod\ncluster: west\ninsecure: true\nsource:\n  manifests: {}", "watcher.yaml:5: source.manifests.dir is missing: add dir: DIR"},
		{
			"gateways of objects that no file has",
			"clusterset: prod\ncluster: west\ninsecure: true\nsource: {manifests: {dir: a}}\ngateways:\n- service: a/b\n- ingress: web/shop\n- gateway: web/edge",
			"watcher.yaml:7: gateways[1].ingress: source.manifests reads none: give addresses, hostname or service\n" +
				"watcher.yaml:8: gateways[2].gateway: source.manifests reads none: give addresses, hostname or service",
		},
		{"unknown export", "clusterset: prod\ncluster: west\ninsecure: true\nsource:\n  manifests: {dir: a}\n  export: some", `watcher.yaml:6: source.export: unknown value "some": want one of declared, all`},
		{"bad zone", "clusterset: prod\ncluster: west\ninsecure: true\nsource: {kubernetes: {zones: [\"*.global\", global]}}", `watcher.yaml:4: source.kubernetes.zones[0]: "*.global" is not a DNS zone, as in global`},
		{"misspelt source", "clusterset: prod\ncluster: west\ninsecure: true\nsource: {kubernets: {}}", `watcher.yaml:4: unknown field "kubernets" in source: did you mean "kubernetes"?`},
		{"no key", "clusterset: prod\ncluster: west\nsource: {kubernetes: {}}\ntls: {cert: a, ca: b}", "watcher.yaml:4: tls.key is missing: add key: FILE"},
		{"bad names", "clusterset: Prod\ncluster: us.west\nsource: {kubernetes: {}}\ninsecure: true", `watcher.yaml:1: clusterset: "Prod" is not a lower-case DNS label (a-z, 0-9 and inner '-')
watcher.yaml:2: cluster: "us.west" is not a lower-case DNS label (a-z, 0-9 and inner '-')`},
		{"by line", "tls: {cert: a}\nclusterset: prod\ncluster: \"-\"\nsorce: {}", `watcher.yaml:1: source is missing: add source: {kubernetes: {}} or source: {manifests: {dir: DIR}}
watcher.yaml:1: tls.key is missing: add key: FILE
watcher.yaml:1: tls.ca is missing: add ca: FILE
watcher.yaml:3: cluster: "-" is not a lower-case DNS label (a-z, 0-9 and inner '-')
watcher.yaml:4: unknown field "sorce": did you mean "source"?`},
		{"empty context", "clusterset: prod\ncluster: west\ninsecure: true\nsource: {kubernetes: {context: \"\"}}", `watcher.yaml:4: source.kubernetes.context: "" is empty: give a value or remove the field`},
		{"too long", strings.Repeat("# \n", maxFile/3+1), "watcher.yaml: is larger than 1048576 octets: give the watcher's own file"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse("watcher.yaml", []byte(tt.text))
			require.EqualError(t, err, tt.want)
		})
	}
}

func TestNoFloodOfProblems(t *testing.T) {
	_, err := Parse("watcher.yaml", []byte(strings.Repeat("a: 1\n", 10_000)))
	require.Len(t, err, maxProblems)
}

func TestLoadNamesTheFile(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "watcher.yaml")
	_, err := Load(file)
	require.EqualError(t, err, file+": cannot be read: no such file or directory: give a file with -c")
	require.NoError(t, os.WriteFile(file, []byte(strings.Join(base, "\n")), 0o600))
	c, err := Load(file)
	require.NoError(t, err)
	require.Equal(t, filepath.Join(dir, "c"), c.TLS.Cert)
	require.Equal(t, file, c.File())
}

func TestProblemFindsTheNearestLine(t *testing.T) {
	c, err := Parse("watcher.yaml", []byte(strings.Join(base, "\n")+"\ngossip:\n  listen: 127.0.0.1:1\n"))
	require.NoError(t, err)
	require.EqualError(t, c.Problem("gossip.listen", "address %s\nis in use", "x"), "watcher.yaml:6: gossip.listen: address x is in use")
	require.EqualError(t, c.Problem("gossip.advertise", "a"), "watcher.yaml:5: gossip.advertise: a")
	require.EqualError(t, c.Problem("http", "a"), "watcher.yaml: http: a")
}
