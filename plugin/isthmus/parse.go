package isthmus

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/pkg/fall"

	"github.com/isthmus-dns/isthmus/discovery"
)

const (
	defaultZone = "global."
	// defaultTTL is short because an answer names one cluster: when that fails
	// or load must move, clients shall ask again soon.
	defaultTTL = 5
	// maxTTL is the kubernetes plugin's.
	maxTTL = 3600
	// watcherPort is the one TLS port of a cluster's watchers.
	watcherPort = "7946"
	// maxWatchers is more than the replicas of a watcher Deployment.
	maxWatchers = 16
)

// stanza is what a Corefile says.
type stanza struct {
	zones    zones
	link     linkConfig
	locality discovery.Locality
	ttl      uint32
	fall     fall.F
}

// property reads one property of a stanza; the dispenser stands on its name.
type property func(*parser) error

// properties are all that a stanza can have.
var properties = map[string]property{
	"watcher":     (*parser).watcher,
	"tls":         (*parser).tls,
	"insecure":    (*parser).insecure,
	"clusterset":  (*parser).clusterset,
	"locality":    (*parser).locality,
	"node":        (*parser).node,
	"snapshot":    (*parser).snapshot,
	"mcs":         (*parser).mcs,
	"ttl":         (*parser).ttl,
	"fallthrough": (*parser).fallthroughZones,
}

// repeatable are those that may come more than once.
var repeatable = []string{"watcher", "mcs"}

type parser struct {
	*caddy.Controller
	root     string // of the root plugin, "" for none
	watchers []string
	origins  []string // of the zones, in the order of the Corefile
	mcsZones []string // those of them that are MCS zones, and further ones
	out      stanza
}

// parse reads the stanza of a server block. Errors name file and line.
func parse(c *caddy.Controller) (stanza, error) {
	p := &parser{Controller: c, root: dnsserver.GetConfig(c).Root, out: stanza{ttl: defaultTTL}}
	for stanzas := 0; c.Next(); stanzas++ {
		if stanzas > 0 {
			return stanza{}, c.Errf("%v", plugin.ErrOnce)
		}
		if err := p.zones(c.RemainingArgs()); err != nil {
			return stanza{}, err
		}
		seen := make(map[string]bool)
		for c.NextBlock() {
			name := c.Val()
			read, ok := properties[name]
			if !ok {
				return stanza{}, p.unknown(name)
			}
			if seen[name] && !slices.Contains(repeatable, name) {
				return stanza{}, p.Errf("%s is there twice: leave one", name)
			}
			seen[name] = true
			if err := read(p); err != nil {
				return stanza{}, err
			}
		}
	}
	if err := p.finish(); err != nil {
		return p.out, err
	}
	return p.out, p.finishZones()
}

func (p *parser) unknown(name string) error {
	names := make([]string, 0, len(properties))
	for known := range properties {
		names = append(names, known)
	}
	if near := nearest(name, names); near != "" {
		return p.Errf("unknown property %q, did you mean %q?", name, near)
	}
	slices.Sort(names)
	return p.Errf("unknown property %q, want one of %s", name, strings.Join(names, ", "))
}

// finish checks what only the whole stanza shows.
func (p *parser) finish() error {
	l := &p.out.link
	switch {
	case len(p.watchers) == 0:
		return p.Err("watcher is missing: the addresses of this cluster's watchers")
	case l.cert == "" && !l.insecure:
		return p.Err("tls is missing: certificate, key and CA of this agent (or insecure, for tests)")
	case l.cert != "" && l.insecure:
		return p.Err("tls and insecure exclude each other")
	}
	slices.Sort(p.watchers) // they are tried in any order, and those who name the same share a link
	l.watchers = strings.Join(p.watchers, " ")
	if l.node == "" {
		host, err := os.Hostname()
		if err != nil {
			return p.Errf("node is missing and the host name unknown: %v", err)
		}
		l.node = host
	}
	return nil
}

func (p *parser) watcher() error {
	args := p.RemainingArgs()
	if len(args) == 0 {
		return p.ArgErr()
	}
	for _, arg := range args {
		addr, err := watcherAddress(arg)
		if err != nil {
			return p.Errf("watcher %q: %v, want host[:port]", arg, err)
		}
		if !slices.Contains(p.watchers, addr) {
			p.watchers = append(p.watchers, addr)
		}
	}
	if len(p.watchers) > maxWatchers {
		return p.Errf("%d watchers, at most %d are allowed", len(p.watchers), maxWatchers)
	}
	return nil
}

// watcherAddress completes host[:port].
func watcherAddress(s string) (string, error) {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		if host, port, err = net.SplitHostPort(net.JoinHostPort(strings.Trim(s, "[]"), watcherPort)); err != nil {
			return "", err
		}
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", &net.AddrError{Err: "port is not in 1 to 65535", Addr: s}
	}
	if host == "" || strings.ContainsAny(host, " /@") || strings.Contains(host, ":") && net.ParseIP(host) == nil {
		return "", &net.AddrError{Err: "host is not a name or an address", Addr: s}
	}
	return net.JoinHostPort(host, port), nil
}

func (p *parser) tls() error {
	args := p.RemainingArgs()
	if len(args) != 3 {
		return p.ArgErr()
	}
	for i, path := range args {
		args[i] = p.path(path)
		// What is in the files is checked where they are used; here an error
		// can still name the line.
		f, err := os.Open(args[i])
		if err != nil {
			return p.Errf("tls: %v: name a file that `isthmus pki` made and this user may read", err)
		}
		if err := f.Close(); err != nil {
			return p.Errf("tls: %v", err)
		}
	}
	p.out.link.cert, p.out.link.key, p.out.link.ca = args[0], args[1], args[2]
	return nil
}

func (p *parser) path(s string) string {
	if p.root == "" || filepath.IsAbs(s) {
		return s
	}
	return filepath.Join(p.root, s)
}

func (p *parser) insecure() error {
	if p.NextArg() {
		return p.ArgErr()
	}
	p.out.link.insecure = true
	return nil
}

// one reads the only argument of a property.
func (p *parser) one() (string, error) {
	args := p.RemainingArgs()
	if len(args) != 1 {
		return "", p.ArgErr()
	}
	return args[0], nil
}

func (p *parser) clusterset() error {
	name, err := p.one()
	if err != nil {
		return err
	}
	if err := discovery.ValidLabel(name); err != nil {
		return p.Errf("clusterset %q %v", name, err)
	}
	p.out.link.clusterset = name
	return nil
}

func (p *parser) locality() error {
	s, err := p.one()
	if err != nil {
		return err
	}
	if p.out.locality, err = discovery.ParseLocality(s); err != nil {
		return p.Errf("%v", err)
	}
	return nil
}

func (p *parser) node() error {
	name, err := p.one()
	if err != nil {
		return err
	}
	if len(name) > 253 {
		return p.Err("node: a name has at most 253 octets")
	}
	p.out.link.node = name
	return nil
}

func (p *parser) snapshot() error {
	dir, err := p.one()
	if err != nil {
		return err
	}
	p.out.link.snapshot = p.path(dir)
	return nil
}

func (p *parser) ttl() error {
	s, err := p.one()
	if err != nil {
		return err
	}
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil || n > maxTTL {
		return p.Errf("ttl %q: want 0 to %d seconds", s, maxTTL)
	}
	p.out.ttl = uint32(n)
	return nil
}

func (p *parser) fallthroughZones() error {
	p.out.fall.SetZonesFromArgs(p.RemainingArgs())
	return nil
}
