package isthmus

import (
	"os"
	"strings"
	"testing"

	"github.com/coredns/caddy"
	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/discovery"
)

// certificates makes the files that tls names, in a directory of its own, and
// goes there.
func certificates(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, name := range []string{"west-agent.crt", "west-agent.key", "ca.crt"} {
		require.NoError(t, os.WriteFile(name, nil, 0o600))
	}
}

func controller(input string, keys ...string) *caddy.Controller {
	c := caddy.NewTestController("dns", input)
	c.ServerBlockKeys = keys
	return c
}

func TestParse(t *testing.T) {
	certificates(t)
	host, err := os.Hostname()
	require.NoError(t, err)
	tests := []struct {
		name, in string
		keys     []string
		zones    []string
		link     linkConfig
		locality discovery.Locality
		ttl      uint32
		fall     []string
	}{
		{
			name:  "least",
			in:    "isthmus {\n watcher 192.0.2.1\n insecure\n}",
			keys:  []string{"dns://.:53"},
			zones: []string{"global."}, ttl: 5,
			link: linkConfig{watchers: "192.0.2.1:7946", insecure: true, node: host},
		},
		{
			name: "all",
			in: `isthmus Global. shop.example {
				watcher west-b.example:2 west-a.example:1
				watcher [2001:db8::1]:7000 2001:db8::2 west-a.example:1
				tls west-agent.crt west-agent.key ca.crt
				clusterset prod
				locality us-west1/us-west1-a/rack-7
				node n1
				snapshot snap
				ttl 30
				fallthrough shop.example
			}`,
			keys:  []string{"dns://.:53"},
			zones: []string{"global.", "shop.example."},
			link: linkConfig{
				watchers: "[2001:db8::1]:7000 [2001:db8::2]:7946 west-a.example:1 west-b.example:2",
				cert:     "west-agent.crt", key: "west-agent.key", ca: "ca.crt", clusterset: "prod", snapshot: "snap", node: "n1",
			},
			locality: discovery.Locality{Region: "us-west1", Zone: "us-west1-a", Subzone: "rack-7"},
			ttl:      30, fall: []string{"shop.example."},
		},
		{
			name: "the block's zones, fallthrough for all",
			in:   "isthmus {\n watcher w:1\n insecure\n fallthrough\n}",
			keys: []string{"dns://b.example.:53", "dns://a.example.:53", "dns://b.example.:54"}, zones: []string{"a.example.", "b.example."},
			link: linkConfig{watchers: "w:1", insecure: true, node: host}, ttl: 5, fall: []string{"."},
		},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			got, err := parse(controller(tc.in, tc.keys...))
			require.NoError(t, err)
			require.Equal(t, tc.zones, got.zones.origins())
			require.Equal(t, tc.link, got.link)
			require.Equal(t, tc.locality, got.locality)
			require.Equal(t, tc.ttl, got.ttl)
			require.Equal(t, tc.fall, got.fall.Zones)
		})
	}
}

// Each error is one line with the line of the Corefile and what to do.
func TestParseErrors(t *testing.T) {
	certificates(t)
	replaceOpen(t)
	long := strings.Repeat("x", 300)
	tests := []struct{ name, in, want string }{
		{"nothing", "isthmus", "Testfile:1 - Error during parsing: watcher is missing"},
		{"no tls", "isthmus {\n watcher a\n}", "tls is missing"},
		{"both", "isthmus {\n watcher a\n insecure\n tls west-agent.crt west-agent.key ca.crt\n}", "exclude each other"},
		{"typo", "isthmus {\n watcher a\n\n localty x\n}", `Testfile:4 - Error during parsing: unknown property "localty", did you mean "locality"?`},
		{"nothing like it", "isthmus {\n zzzzzz\n}", `unknown property "zzzzzz", want one of clusterset, fallthrough, insecure, locality, mcs, node, snapshot, tls, ttl, watcher`},
		{"very long", "isthmus {\n " + long + "\n}", "want one of"},
		{"twice", "isthmus {\n watcher a\n insecure\n}\nisthmus {\n}", "once per Server Block"},
		{"the root", "isthmus . {\n watcher a\n insecure\n}", "Testfile:1 - Error during parsing: the root"},
		{"bad zone", "isthmus a..b {\n}", `zone "a..b" is not a domain name`},
		{"long zone", "isthmus " + strings.Repeat("x234567890123456789012345678901234567890123456789.", 4) + strings.Repeat("y", 46) + " {\n}", "leaves no room for hostmaster"},
		{"mcs without zone", "isthmus {\n watcher a\n insecure\n mcs\n}", "Testfile:4"},
		{"mcs at the root", "isthmus {\n mcs .\n}", `mcs zone "."`},
		{"mcs with a CIDR", "isthmus {\n mcs 10.0.0.0/8\n}", `mcs zone "10.0.0.0/8": want a domain such as clusterset.local`},
		{"bad mcs zone", "isthmus {\n mcs a..b\n}", `zone "a..b" is not a domain name`},
		{"a zone of part of an octet", "isthmus global 0/25.2.0.192.in-addr.arpa {\n watcher a\n insecure\n}", "stands for no address or prefix"},
		{"only reverse zones", "isthmus 10.0.0.0/8 {\n watcher a\n insecure\n}", "reverse zone 10.in-addr.arpa. needs a zone that its records point to"},
		{"reverse and MCS zones", "isthmus 10.0.0.0/8 {\n watcher a\n insecure\n mcs clusterset.local\n}", "needs a zone that its records point to"},
		{"watcher without address", "isthmus {\n watcher\n}", "Testfile:2"},
		{"watcher with a bad port", "isthmus {\n watcher a:0\n}", `Testfile:2 - Error during parsing: watcher "a:0"`},
		{"watcher without host", "isthmus {\n watcher :1\n}", "host is not a name"},
		{"watcher URL", "isthmus {\n watcher https://a:1\n}", `want host[:port]`},
		{"too many watchers", "isthmus {\n watcher a b c d e f g h i j k l m n o p q r s\n}", "at most 16"},
		{"tls with two files", "isthmus {\n tls a b\n}", "Testfile:2"},
		{"no such file", "isthmus {\n watcher a\n tls west-agent.crt missing.key ca.crt\n}", "Testfile:3 - Error during parsing: tls: open missing.key"},
		{"bad clusterset", "isthmus {\n clusterset Prod\n}", `clusterset "Prod" is not a lower-case DNS label`},
		{"bad locality", "isthmus {\n locality a//b\n}", `Testfile:2 - Error during parsing: locality "a//b"`},
		{"two localities", "isthmus {\n locality a b\n}", "Testfile:2"},
		{"long node", "isthmus {\n node " + long + "\n}", "at most 253"},
		{"snapshot without directory", "isthmus {\n snapshot\n}", "Testfile:2"},
		{"negative ttl", "isthmus {\n ttl -1\n}", `ttl "-1": want 0 to 3600 seconds`},
		{"large ttl", "isthmus {\n ttl 3601\n}", "want 0 to 3600"},
		{"two ttls", "isthmus {\n watcher a\n ttl 5\n ttl 6\n}", "Testfile:4 - Error during parsing: ttl is there twice: leave one"},
		{"insecure with an argument", "isthmus {\n insecure yes\n}", "Testfile:2"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			err := setup(controller(tc.in, "dns://.:53"))
			require.ErrorContains(t, err, tc.want)
			require.ErrorContains(t, err, "plugin/isthmus: Testfile:")
			require.NotContains(t, err.Error(), "\n")
		})
	}
}

func TestNearest(t *testing.T) {
	words := []string{"watcher", "tls", "ttl", "locality"}
	require.Equal(t, "watcher", nearest("wacher", words))
	require.Equal(t, "watcher", nearest("watchers", words))
	require.Equal(t, "tls", nearest("tl", words), "ties go to the first")
	require.Equal(t, "", nearest("completely", words))
	require.Equal(t, 3, distance("kitten", "sitting"))
}

// Zones are of the kind that their names tell, and those that aren't plain
// point to the first plain one of the Corefile.
func TestParseZones(t *testing.T) {
	const rest = "watcher a\n insecure\n}"
	tests := []struct {
		name, in string
		keys     []string
		want     map[string]zoneKind
		names    string // of all zones that aren't plain
	}{
		{
			"all kinds", "isthmus z.example a.example 10.0.0.0/8 2001:db8::/31 {\n mcs Clusterset.local set.example\n" + rest, nil,
			map[string]zoneKind{
				"z.example.": zonePlain, "a.example.": zonePlain, "10.in-addr.arpa.": zoneReverse, "8.b.d.0.1.0.0.2.ip6.arpa.": zoneReverse,
				"9.b.d.0.1.0.0.2.ip6.arpa.": zoneReverse, "clusterset.local.": zoneMCS, "set.example.": zoneMCS,
			},
			"z.example.",
		},
		{
			"an MCS zone among the block's", "isthmus {\n mcs clusterset.local\n" + rest,
			[]string{"dns://clusterset.local.:53", "dns://1.10.in-addr.arpa.:53", "dns://global.:53"},
			map[string]zoneKind{"clusterset.local.": zoneMCS, "1.10.in-addr.arpa.": zoneReverse, "global.": zonePlain},
			"global.",
		},
		{
			"all addresses", "isthmus global in-addr.arpa ip6.arpa {\n" + rest, nil,
			map[string]zoneKind{"global.": zonePlain, "in-addr.arpa.": zoneReverse, "ip6.arpa.": zoneReverse},
			"global.",
		},
		{
			"the root's default", "isthmus {\n mcs clusterset.local\n" + rest,
			[]string{"dns://.:53"},
			map[string]zoneKind{"clusterset.local.": zoneMCS, "global.": zonePlain},
			"global.",
		},
		{"MCS alone", "isthmus clusterset.local {\n mcs clusterset.local\n" + rest, nil, map[string]zoneKind{"clusterset.local.": zoneMCS}, ""},
		{"no boundary", "isthmus xin-addr.arpa {\n" + rest, nil, map[string]zoneKind{"xin-addr.arpa.": zonePlain}, ""},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			got, err := parse(controller(tc.in, tc.keys...))
			require.NoError(t, err)
			require.Len(t, got.zones, len(tc.want))
			for _, z := range got.zones {
				require.Equal(t, tc.want[z.origin], z.kind, z.origin)
				switch {
				case z.kind == zonePlain:
					require.Same(t, z, z.names)
				case tc.names == "":
					require.Nil(t, z.names)
				default:
					require.Equal(t, tc.names, z.names.origin)
				}
			}
		})
	}
}
