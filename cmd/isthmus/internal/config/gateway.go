package config

import (
	"errors"
	"net/netip"
	"strings"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/discovery/export"
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
		d.reference("service", &g.Service),
		d.reference("ingress", &g.Ingress),
		d.reference("gateway", &g.Gateway),
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
	switch given := g.given(); len(given) {
	case 0:
		d.add(n, "%s: has no address: give addresses, hostname, service, ingress or gateway", path)
	case 1:
	default:
		d.add(n, "%s: has %s: give one of them", path, strings.Join(given, " and "))
	}
	c.Gateways = append(c.Gateways, g)
}

// given are the fields that say where the gateway is.
func (g *Gateway) given() []string {
	var out []string
	for _, field := range []struct {
		name  string
		given bool
	}{
		{"addresses", len(g.Addresses) > 0},
		{"hostname", g.Hostname != ""},
		{"service", g.Service != export.Object{}},
		{"ingress", g.Ingress != export.Object{}},
		{"gateway", g.Gateway != export.Object{}},
	} {
		if field.given {
			out = append(out, field.name)
		}
	}
	return out
}

// reference reads the namespace/name of an object whose addresses serve.
func (d *decoder) reference(name string, into *export.Object) field {
	return field{name, d.text(new(string), func(s string) error {
		namespace, object, ok := strings.Cut(s, "/")
		if !ok || discovery.ValidLabel(namespace) != nil || validHost(object) != nil {
			return errors.New("wants namespace/name")
		}
		*into = export.Object{Namespace: namespace, Name: object}
		return nil
	})}
}
