package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/discovery/export"
	"go.yaml.in/yaml/v3"
)

// validate finds what is missing and what doesn't go together. Fields that
// were given but broken have their problem already and are not missing.
func (d *decoder) validate(c *Config, root *yaml.Node) {
	if root.Kind != yaml.MappingNode {
		if isNull(root) {
			d.add(nil, "is empty: give at least clusterset, cluster, source and tls")
		}
		return
	}
	d.require(root, "clusterset", "clusterset: prod")
	d.require(root, "cluster", "cluster: west")
	if d.require(root, "source", "source: {kubernetes: {}} or source: {manifests: {dir: DIR}}") {
		d.validateSource(c)
	}
	d.validateGateways(c)
	d.validateTLS(c, root)
	d.validateGossip(c)
}

// validateGateways refuses objects that the source doesn't read.
func (d *decoder) validateGateways(c *Config) {
	if c.Source.Manifests == nil || len(d.problems) > 0 { // a broken entry is not in the list
		return
	}
	for i, g := range c.Gateways {
		for _, ref := range []struct {
			field  string
			object export.Object
		}{{"ingress", g.Ingress}, {"gateway", g.Gateway}} {
			if ref.object != (export.Object{}) {
				path := fmt.Sprintf("gateways[%d].%s", i, ref.field)
				d.add(d.at(path), "%s: source.manifests reads none: give addresses, hostname or service", path)
			}
		}
	}
}

// require tells whether a field is there, and adds a problem with an example
// of how to write it if not.
func (d *decoder) require(at *yaml.Node, path, example string) bool {
	if _, given := d.lines[path]; given {
		return true
	}
	d.add(at, "%s is missing: add %s", path, example)
	return false
}

// at makes a node of a field's line, for problems with it.
func (d *decoder) at(path string) *yaml.Node { return &yaml.Node{Line: d.lines[path]} }

func (d *decoder) validateSource(c *Config) {
	switch s := c.Source; {
	case s.Kubernetes != nil && s.Manifests != nil:
		d.add(d.at("source"), "source: has kubernetes and manifests: give one of them")
	case s.Kubernetes == nil && s.Manifests == nil:
		if !d.broken["source"] {
			d.add(d.at("source"), "source: names none: give kubernetes: {} or manifests: {dir: DIR}")
		}
	case s.Manifests != nil && s.Manifests.Dir == "":
		if !d.broken["source.manifests"] {
			d.add(d.at("source.manifests"), "source.manifests.dir is missing: add dir: DIR")
		}
	}
}

func (d *decoder) validateTLS(c *Config, root *yaml.Node) {
	_, given := d.lines["tls"]
	switch {
	case c.Insecure && given:
		d.add(d.at("insecure"), "insecure: true goes without tls: remove one of them")
	case c.Insecure:
	case !given:
		d.add(root, "tls is missing: add tls: {cert: FILE, key: FILE, ca: FILE}, or insecure: true for plain text")
	default:
		for _, f := range []string{"tls.cert", "tls.key", "tls.ca"} {
			if _, given := d.lines[f]; !given && !d.broken["tls"] {
				d.add(d.at("tls"), "%s is missing: add %s: FILE", f, f[len("tls."):])
			}
		}
	}
}

// validateGossip wants an address that others can use, or takes the one that is
// listened on.
func (d *decoder) validateGossip(c *Config) {
	if c.Gossip.Advertise == "" {
		host, _, _ := net.SplitHostPort(c.Gossip.Listen)
		if host != "" && !nowhere(c.Gossip.Listen) {
			c.Gossip.Advertise = c.Gossip.Listen
		} else if len(c.Gossip.Join)+len(c.Gossip.Siblings) > 0 {
			d.add(d.at("gossip"), "gossip.advertise is missing: add advertise: HOST:PORT, the address that other clusters reach this one by")
		}
	}
	if nowhere(c.Gossip.Advertise) {
		d.add(d.at("gossip.advertise"), "gossip.advertise: %q is not an address that others can connect to", c.Gossip.Advertise)
	}
	for _, list := range []struct {
		path      string
		addresses []string
	}{{"gossip.join", c.Gossip.Join}, {"gossip.siblings", c.Gossip.Siblings}} {
		if i := slices.IndexFunc(list.addresses, nowhere); i >= 0 {
			d.add(d.at(list.path), "%s: %q is not an address that can be connected to", list.path, list.addresses[i])
		}
	}
}

// nowhere tells whether nobody can connect to a host:port.
func nowhere(hostPort string) bool {
	host, _, _ := net.SplitHostPort(hostPort)
	a, err := netip.ParseAddr(host)
	return err == nil && (a.IsUnspecified() || a.IsMulticast())
}

func validCluster(s string) error { return discovery.ValidLabel(s) }

// validClusterset: it is the trust domain of SPIFFE IDs and the end of the
// names that watchers are addressed by in TLS.
func validClusterset(s string) error {
	if s == "" {
		return errors.New("is empty")
	}
	// <watcher>.<cluster>.<clusterset> must stay a DNS name: 253 less two
	// labels and their dots.
	if len(s) > 125 {
		return fmt.Errorf("has %d octets, at most 125 are allowed", len(s))
	}
	for label := range strings.SplitSeq(s, ".") {
		if err := discovery.ValidLabel(label); err != nil {
			return err
		}
	}
	return nil
}

// validNetwork takes what a label value may be, or nothing.
func validNetwork(s string) error {
	if s == "" || strings.ContainsRune(s, '/') {
		if s == "" {
			return nil
		}
		return errors.New("wants letters, digits and inner '-', '_' or '.'")
	}
	if _, err := discovery.ParseLocality(s); err != nil {
		return errors.New("wants at most 63 letters, digits and inner '-', '_' or '.'")
	}
	return nil
}

func validHostname(s string) error {
	if _, err := netip.ParseAddr(s); err == nil {
		return errors.New("is an IP address: give it in addresses")
	}
	if err := validHost(s); err != nil {
		return fmt.Errorf("is not a host name: %w", err)
	}
	return nil
}

func notEmpty(s string) error {
	if s == "" {
		return errors.New("is empty: give a value or remove the field")
	}
	return nil
}
