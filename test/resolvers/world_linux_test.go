package resolvers

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/test/cluster"
)

// service is a manifest with what the cases need; addresses are the cluster
// IPs, or the ready endpoints if it is headless.
type service struct {
	name      string
	addresses []string
	headless  bool
	alias     string
}

// ours are west's services; east exports elsewhere.
var (
	ours = []service{
		{name: "user-service", addresses: []string{"10.96.0.10"}, alias: "users.global"},
		{name: "six", addresses: []string{"fd00::6"}},
		{name: "dual", addresses: []string{"10.96.0.7", "fd00::7"}},
		{name: "forty", addresses: many(40), headless: true},
		{name: "hundred", addresses: many(100), headless: true},
	}
	elsewhere = cluster.Service{Namespace: "production", Name: "elsewhere", Ready: 3}
)

func many(n int) []string {
	var all []string
	for i := range n {
		all = append(all, netip.AddrFrom4([4]byte{10, 244, 0, byte(i + 1)}).String())
	}
	return all
}

func (s service) yaml() string {
	var b strings.Builder
	fmt.Fprintf(&b, "apiVersion: v1\nkind: Service\nmetadata: {namespace: production, name: %s, annotations: {isthmus.dev/export: \"true\", isthmus.dev/aliases: %q}}\n", s.name, s.alias)
	endpoints := []string{"10.244.9.9"}
	if s.headless {
		b.WriteString("spec: {clusterIP: None, ports: [{name: http, port: 8080}]}\n")
		endpoints = s.addresses
	} else {
		fmt.Fprintf(&b, "spec: {clusterIP: %q, clusterIPs: [%s], ports: [{name: http, port: 8080}]}\n", s.addresses[0], quoted(s.addresses))
	}
	fmt.Fprintf(&b, "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n"+
		"metadata: {namespace: production, name: %[1]s-1, labels: {kubernetes.io/service-name: %[1]s}}\n"+
		"addressType: IPv4\nports: [{name: http, port: 8080}]\nendpoints:\n", s.name)
	for _, a := range endpoints {
		fmt.Fprintf(&b, "  - {addresses: [%q], conditions: {ready: true}}\n", a)
	}
	return b.String()
}

func quoted(list []string) string { return `"` + strings.Join(list, `", "`) + `"` }

// clusterLocal is the zone of the cluster's own names.
const clusterLocal = `$ORIGIN cluster.local.
@                      5 IN SOA ns.dns hostmaster 1 7200 1800 86400 5
@                      5 IN NS  ns.dns
ns.dns                 5 IN A   10.96.0.2
kubernetes.default.svc 5 IN A   10.96.0.1
`

// reverseZones are served beside global, at the harness's port %[1]s too.
const reverseZones = " global:53 in-addr.arpa:53 ip6.arpa:53 in-addr.arpa:%[1]s ip6.arpa:%[1]s {"

// dnssecPort is where the agent signs its answers.
const dnssecPort = "5300"

// blocks stand beside the harness's server block, whose stanza is %[1]s.
// Elsewhere in the DNS nothing exists.
const blocks = `
cluster.local:53 {
    bind 127.0.0.1
    errors
    file %[2]s/db.cluster.local
}
cloud.example:53 {
    bind 127.0.0.1
    errors
    file %[2]s/db.cloud.example {
        reload 100ms
    }
}
.:53 {
    bind 127.0.0.1
    errors
    template ANY ANY {
        rcode NXDOMAIN
        authority ". 5 IN SOA ns. hostmaster. 1 7200 1800 86400 5"
    }
}
global:` + dnssecPort + ` {
    root %[2]s
    bind 127.0.0.1
    bufsize 1232
    errors
    dnssec {
        key file %[3]s
    }
%[1]s}
`

// startAgent starts west and east. West's agent has port 53 besides that of the
// harness; anchor is the trust anchor for its signed answers.
func startAgent(t *testing.T) (west, east *cluster.Cluster, anchor string) {
	s := cluster.New(t, "west", "east")
	west, east = s.Clusters[0], s.Clusters[1]
	key, record := writeKey(t, west.Dir)
	text, err := os.ReadFile(west.Corefile())
	require.NoError(t, err)
	corefile := string(text)
	stanza := corefile[strings.Index(corefile, "    isthmus {"):strings.LastIndexByte(corefile, '}')]
	port, _, _ := strings.Cut(strings.TrimPrefix(corefile, "global:"), " ")
	corefile = strings.Replace(corefile, " {", fmt.Sprintf(reverseZones, port), 1)
	corefile += fmt.Sprintf(blocks, stanza, west.Dir, key)
	require.NoError(t, os.WriteFile(west.Corefile(), []byte(corefile), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(west.Dir, "db.cluster.local"), []byte(clusterLocal), 0o600))
	for _, s := range ours {
		require.NoError(t, cluster.Replace(filepath.Join(west.Dir, "manifests", s.name+".yaml"), s.yaml()))
	}
	east.Export(elsewhere)
	writeCloud(t, west, 1, "lb 5 IN A 198.51.100.1", "lb 5 IN A 198.51.100.2", "lb 5 IN AAAA 2001:db8::1")
	s.Start()
	for _, s := range ours {
		west.Answers(s.name+".production.global.", "TXT", "NODATA") // it exists
	}
	west.Answers("elsewhere.production.global.", "A", east.Gateway)
	west.Answers("2.2.0.192.in-addr.arpa.", "PTR", "east.gateway.global.")
	anchor = filepath.Join(west.Dir, "anchor.conf")
	text = fmt.Appendf(nil, "trust-anchors { global. static-key %d %d %d %q; };\n", record.Flags, record.Protocol, record.Algorithm, record.PublicKey)
	require.NoError(t, os.WriteFile(anchor, text, 0o600))
	return west, east, anchor
}

// writeCloud writes the zone in which a cloud names its load balancers.
func writeCloud(t *testing.T, c *cluster.Cluster, serial int, records ...string) {
	t.Helper()
	zone := fmt.Sprintf("$ORIGIN cloud.example.\n@ 5 IN SOA ns hostmaster %d 7200 1800 86400 5\n@ 5 IN NS ns\nns 5 IN A 127.0.0.1\n", serial)
	require.NoError(t, cluster.Replace(filepath.Join(c.Dir, "db.cloud.example"), zone+strings.Join(records, "\n")+"\n"))
}

// writeKey makes a key for the zone and returns its files' common name.
func writeKey(t *testing.T, dir string) (base string, record *dns.DNSKEY) {
	record = &dns.DNSKEY{
		Hdr:   dns.RR_Header{Name: "global.", Rrtype: dns.TypeDNSKEY, Class: dns.ClassINET, Ttl: 3600},
		Flags: dns.ZONE | dns.SEP, Protocol: 3, Algorithm: dns.ECDSAP256SHA256,
	}
	private, err := record.Generate(256)
	require.NoError(t, err)
	base = filepath.Join(dir, fmt.Sprintf("Kglobal.+%03d+%05d", record.Algorithm, record.KeyTag()))
	require.NoError(t, os.WriteFile(base+".key", []byte(record.String()+"\n"), 0o600))
	require.NoError(t, os.WriteFile(base+".private", []byte(record.PrivateKeyString(private)), 0o600))
	return base, record
}
