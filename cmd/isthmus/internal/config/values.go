package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/isthmus-dns/isthmus/cmd/isthmus/internal/suggest"
	"github.com/isthmus-dns/isthmus/discovery"
	"go.yaml.in/yaml/v3"
)

// text reads a string that valid accepts; valid's error follows the path and
// the value.
func (d *decoder) text(to *string, valid func(string) error) read {
	return func(n *yaml.Node, path string) {
		s, ok := d.scalar(n, path, "!!str", "a text")
		if !ok {
			return
		}
		if err := valid(s); err != nil {
			d.add(n, "%s: %q %v", path, clip(s), err)
			return
		}
		*to = s
	}
}

// zone reads a DNS zone, as a Corefile has it.
func (d *decoder) zone(to *[]string) read {
	return func(n *yaml.Node, path string) {
		text := ""
		d.text(&text, validZone)(n, path)
		if text != "" {
			*to = append(*to, strings.ToLower(strings.TrimSuffix(text, ".")))
		}
	}
}

func validZone(text string) error {
	zone := strings.ToLower(strings.TrimSuffix(text, "."))
	if len(zone) > 253 {
		return errors.New("is longer than a DNS name")
	}
	for label := range strings.SplitSeq(zone, ".") {
		if discovery.ValidLabel(label) != nil {
			return errors.New("is not a DNS zone, as in global")
		}
	}
	return nil
}

// file reads a file name; a relative one starts at the configuration's folder.
func (d *decoder) path(to *string) read {
	return func(n *yaml.Node, path string) {
		s, ok := d.scalar(n, path, "!!str", "a file name")
		if !ok {
			return
		}
		if s == "" || strings.ContainsRune(s, 0) {
			d.add(n, "%s: %q is not a file name", path, clip(s))
			return
		}
		if !filepath.IsAbs(s) {
			s = filepath.Join(filepath.Dir(d.file), s)
		}
		*to = s
	}
}

func (d *decoder) flag(to *bool) read {
	return func(n *yaml.Node, path string) {
		if s, ok := d.scalar(n, path, "!!bool", "true or false"); ok {
			*to = strings.EqualFold(s, "true")
		}
	}
}

// number reads a whole number of [1, high].
func (d *decoder) number(high uint64, set func(uint64)) read {
	return func(n *yaml.Node, path string) {
		want := fmt.Sprintf("a number from 1 to %d", high)
		s, ok := d.scalar(n, path, "!!int", want)
		if !ok {
			return
		}
		v, err := strconv.ParseUint(s, 10, 64)
		if err != nil || v < 1 || v > high {
			d.add(n, "%s: want %s, got %s", path, want, clip(s))
			return
		}
		set(v)
	}
}

// choice reads one of a few words.
func (d *decoder) choice(words []string, set func(string)) read {
	return func(n *yaml.Node, path string) {
		s, ok := d.scalar(n, path, "!!str", "one of "+strings.Join(words, ", "))
		if !ok {
			return
		}
		if slices.Contains(words, s) {
			set(s)
			return
		}
		if near := suggest.Nearest(s, words); near != "" {
			d.add(n, "%s: unknown value %q: did you mean %q?", path, clip(s), near)
			return
		}
		d.add(n, "%s: unknown value %q: want one of %s", path, clip(s), strings.Join(words, ", "))
	}
}

func (d *decoder) locality(to *discovery.Locality) read {
	return func(n *yaml.Node, path string) {
		s, ok := d.scalar(n, path, "!!str", "region[/zone[/subzone]]")
		if !ok {
			return
		}
		l, err := discovery.ParseLocality(s)
		if err != nil {
			// ParseLocality's text begins with the field's own name.
			d.add(n, "%v: write region[/zone[/subzone]], as in us-west1/us-west1-a", err)
			return
		}
		*to = l
	}
}

// hostPort reads an address to listen on or to connect to. With a default
// port, the port may be left out; with bind, the host may, which means all.
func (d *decoder) hostPort(defaultPort int, bind bool, set func(string)) read {
	return func(n *yaml.Node, path string) {
		s, ok := d.scalar(n, path, "!!str", "host:port")
		if !ok {
			return
		}
		address, err := parseHostPort(s, defaultPort, bind)
		if err != nil {
			d.add(n, "%s: %q %v", path, clip(s), err)
			return
		}
		set(address)
	}
}

func parseHostPort(s string, defaultPort int, bind bool) (string, error) {
	if defaultPort != 0 && !strings.Contains(s, ":") {
		s = net.JoinHostPort(s, strconv.Itoa(defaultPort))
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return "", fmt.Errorf("is not host:port: write it like 203.0.113.7:7946 or [2001:db8::7]:7946")
	}
	p, err := strconv.ParseUint(port, 10, 16)
	if err != nil || p == 0 && !bind {
		return "", fmt.Errorf("has a bad port: want a number from 1 to 65535")
	}
	switch {
	case host == "" && bind:
	case host == "":
		return "", fmt.Errorf("has no host: write host:%s", port)
	default:
		if _, err := netip.ParseAddr(host); err != nil {
			if err := validHost(host); err != nil {
				return "", fmt.Errorf("has a bad host: %w", err)
			}
		}
	}
	return net.JoinHostPort(host, strconv.FormatUint(p, 10)), nil
}

// validHost says why s is not a DNS host name of lower-case labels.
func validHost(s string) error {
	name := strings.TrimSuffix(s, ".")
	if len(name) > 253 {
		return fmt.Errorf("it has %d octets, at most 253 are allowed", len(name))
	}
	labels := strings.Split(name, ".")
	for _, label := range labels {
		if err := discovery.ValidLabel(label); err != nil {
			return fmt.Errorf("label %q %w", clip(label), err)
		}
	}
	// 203.0.113.700 is no host name but a mistyped address (RFC 1123
	// section 2.1: the last label is alphabetic).
	if last := labels[len(labels)-1]; strings.Trim(last, "0123456789") == "" {
		return fmt.Errorf("it is neither an IP address nor a host name")
	}
	return nil
}

// address reads one IP address that clients elsewhere can connect to.
func (d *decoder) address(set func(netip.Addr)) read {
	return func(n *yaml.Node, path string) {
		s, ok := d.scalar(n, path, "!!str", "an IP address")
		if !ok {
			return
		}
		a, err := netip.ParseAddr(s)
		switch {
		case err != nil:
			d.add(n, "%s: %q is not an IP address: a name goes to hostname, a port to port", path, clip(s))
		case a.IsUnspecified() || a.IsMulticast() || a.IsLinkLocalUnicast() || a.Zone() != "" || a.Is4In6():
			d.add(n, "%s: %q is not an address that others can connect to: give a plain unicast address", path, clip(s))
		default:
			set(a)
		}
	}
}
