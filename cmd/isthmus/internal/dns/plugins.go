package dns

import (
	"slices"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"

	// What an agent needs, and what a cluster's only DNS server needs besides:
	// kubernetes, with client-go that the watcher brings along, is no client of
	// the API server before a Corefile names it. Left out are the cloud
	// providers', etcd and nomad.
	_ "github.com/coredns/coredns/plugin/acl"
	_ "github.com/coredns/coredns/plugin/any"
	_ "github.com/coredns/coredns/plugin/auto"
	_ "github.com/coredns/coredns/plugin/autopath"
	_ "github.com/coredns/coredns/plugin/bind"
	_ "github.com/coredns/coredns/plugin/bufsize"
	_ "github.com/coredns/coredns/plugin/cache"
	_ "github.com/coredns/coredns/plugin/cancel"
	_ "github.com/coredns/coredns/plugin/chaos"
	_ "github.com/coredns/coredns/plugin/debug"
	_ "github.com/coredns/coredns/plugin/dns64"
	_ "github.com/coredns/coredns/plugin/dnssec"
	_ "github.com/coredns/coredns/plugin/dnstap"
	_ "github.com/coredns/coredns/plugin/erratic"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/file"
	_ "github.com/coredns/coredns/plugin/forward"
	_ "github.com/coredns/coredns/plugin/grpc"
	_ "github.com/coredns/coredns/plugin/grpc_server"
	_ "github.com/coredns/coredns/plugin/header"
	_ "github.com/coredns/coredns/plugin/health"
	_ "github.com/coredns/coredns/plugin/hosts"
	_ "github.com/coredns/coredns/plugin/https"
	_ "github.com/coredns/coredns/plugin/https3"
	_ "github.com/coredns/coredns/plugin/k8s_external"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/loadbalance"
	_ "github.com/coredns/coredns/plugin/local"
	_ "github.com/coredns/coredns/plugin/log"
	_ "github.com/coredns/coredns/plugin/loop"
	_ "github.com/coredns/coredns/plugin/metadata"
	_ "github.com/coredns/coredns/plugin/metrics"
	_ "github.com/coredns/coredns/plugin/minimal"
	_ "github.com/coredns/coredns/plugin/multisocket"
	_ "github.com/coredns/coredns/plugin/nsid"
	_ "github.com/coredns/coredns/plugin/pprof"
	_ "github.com/coredns/coredns/plugin/proxyproto"
	_ "github.com/coredns/coredns/plugin/quic"
	_ "github.com/coredns/coredns/plugin/ready"
	_ "github.com/coredns/coredns/plugin/reload"
	_ "github.com/coredns/coredns/plugin/rewrite"
	_ "github.com/coredns/coredns/plugin/root"
	_ "github.com/coredns/coredns/plugin/secondary"
	_ "github.com/coredns/coredns/plugin/shed"
	_ "github.com/coredns/coredns/plugin/sign"
	_ "github.com/coredns/coredns/plugin/template"
	_ "github.com/coredns/coredns/plugin/timeouts"
	_ "github.com/coredns/coredns/plugin/tls"
	_ "github.com/coredns/coredns/plugin/trace"
	_ "github.com/coredns/coredns/plugin/transfer"
	_ "github.com/coredns/coredns/plugin/tsig"
	_ "github.com/coredns/coredns/plugin/view"
	_ "github.com/coredns/coredns/plugin/whoami"

	_ "github.com/isthmus-dns/isthmus/plugin/isthmus"
)

// isthmusDirective is our plugin's name in a Corefile.
const isthmusDirective = "isthmus"

// stock are all directives of a stock CoreDNS in its order, kept to tell a
// plugin that we leave out from a misspelt one.
var stock = slices.Clone(dnsserver.Directives)

// init chooses the directives before anything can start a server: the list is
// the process's and must not change afterwards.
func init() {
	if err := dnsserver.SetDirectives(directives(stock, registered)); err != nil {
		panic(err)
	}
}

func registered(name string) bool {
	_, err := caddy.DirectiveAction(serverType, name)
	return err == nil
}

// directives is CoreDNS's order of those plugins that are there, with ours right
// before kubernetes, whose work it does between clusters: what shapes
// queries and answers (rewrite, acl, cache, dnssec, template) comes before,
// and so does hosts, so that an operator can override a name by hand; file,
// auto and forward take what is left.
func directives(all []string, have func(string) bool) []string {
	var list []string
	for _, name := range all {
		if have(name) {
			list = append(list, name)
		}
		if name == "hosts" && have(isthmusDirective) {
			list = append(list, isthmusDirective)
		}
	}
	return list
}

// Plugins describes what is compiled in, as CoreDNS's -plugins does.
func Plugins() string { return caddy.DescribePlugins() }
