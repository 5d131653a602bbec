package config

import (
	"net/netip"
	"strings"

	"github.com/isthmus-dns/isthmus/discovery"
	"go.yaml.in/yaml/v3"
)

var checks = map[string]discovery.Check{
	"tcp": discovery.CheckTCP, "tls": discovery.CheckTLS, "http": discovery.CheckHTTP, "none": discovery.CheckNone,
}

func (d *decoder) gateway(c *Config, n *yaml.Node, path string) {
	g := Gateway{Name: discovery.DefaultGatewaySet, Weight: 1, Check: discovery.CheckTCP}
	before := len(d.problems)
	d.object(n, path,
		field{"name", d.text(&g.Name, discovery.ValidLabel)},
		field{"addresses", func(n *yaml.Node, path string) {
			d.list(n, path, discovery.MaxAddresses, d.address(func(a netip.Addr) { g.Addresses = append(g.Addresses, a) }))
		}},
		field{"hostname", d.text(&g.Hostname, validHostname)},
		d.later("service"), d.later("ingress"), d.later("gateway"),
		field{"port", d.number(65535, func(v uint64) { g.Port = uint16(v) })},
		field{"zone", d.text(&g.Zone, validNetwork)},
		field{"weight", d.number(discovery.MaxWeight, func(v uint64) { g.Weight = uint32(v) })},
		field{"check", func(n *yaml.Node, path string) {
			d.object(n, path, field{"type", d.choice([]string{"tcp", "tls", "http", "none"}, func(s string) { g.Check = checks[s] })})
		}},
	)
	if len(d.problems) > before {
		return // whatever else is missing may be what is broken
	}
	g.Hostname = strings.TrimSuffix(g.Hostname, ".")
	switch {
	case len(g.Addresses) == 0 && g.Hostname == "":
		d.add(n, "%s: has no address: give addresses or hostname", path)
	case len(g.Addresses) > 0 && g.Hostname != "":
		d.add(n, "%s: has addresses and hostname: give one of them", path)
	}
	c.Gateways = append(c.Gateways, g)
}
