package export

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/isthmus-dns/isthmus/discovery"
)

// refuse says why clients elsewhere can't use the address; "" when they may.
func (o *Options) refuse(a netip.Addr) string {
	switch {
	case a.Zone() != "":
		return "has a zone"
	case a.IsUnspecified():
		return "unspecified"
	case a.IsMulticast():
		return "multicast"
	case a.IsLoopback():
		if !o.AllowLoopback {
			return "loopback"
		}
		return ""
	case a.IsLinkLocalUnicast():
		return "link-local"
	case !a.IsGlobalUnicast():
		return "not unicast"
	}
	for _, p := range o.PodCIDRs {
		if p.Contains(a) {
			return "in Pod CIDR " + p.String()
		}
	}
	for _, p := range o.ServiceCIDRs {
		if p.Contains(a) {
			return "in Service CIDR " + p.String()
		}
	}
	return ""
}

// gatewayAddr reads an address and refuses what can't be a gateway.
func (o *Options) gatewayAddr(text string) (netip.Addr, error) {
	a, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("%q is not an IP address", clip(text))
	}
	a = a.Unmap()
	if why := o.refuse(a); why != "" {
		return netip.Addr{}, fmt.Errorf("address %s refused: %s", clip(a.String()), why)
	}
	return a, nil
}

// target is an address or a host name with an optional port.
type target struct {
	addr netip.Addr
	host string // only when addr is not valid
	port uint16 // 0: none given
}

// parseTarget reads "192.0.2.1", "192.0.2.1:443", "2001:db8::1",
// "[2001:db8::1]", "[2001:db8::1]:443", "host" or "host:443".
func (o *Options) parseTarget(text string) (target, error) {
	host, port, err := splitPort(text)
	if err != nil {
		return target{}, err
	}
	if _, err := netip.ParseAddr(host); err == nil {
		addr, err := o.gatewayAddr(host)
		return target{addr: addr, port: port}, err
	}
	host, err = o.gatewayHost(host)
	return target{host: host, port: port}, err
}

// gatewayHost reads a host name and refuses those of RFC 6761 section 6.3.
func (o *Options) gatewayHost(text string) (string, error) {
	host, err := parseHost(text)
	if err != nil {
		return "", err
	}
	if local := host == "localhost" || strings.HasSuffix(host, ".localhost"); local && !o.AllowLoopback {
		return "", fmt.Errorf("host %q refused: loopback", clip(host))
	}
	return host, nil
}

func splitPort(text string) (host string, port uint16, err error) {
	if _, err := netip.ParseAddr(text); err == nil {
		return text, 0, nil // a bare IPv6 address is full of colons
	}
	var digits string
	var found bool
	if inner, ok := strings.CutPrefix(text, "["); ok {
		var rest string
		if host, rest, ok = strings.Cut(inner, "]"); !ok {
			return "", 0, fmt.Errorf("%q has no closing bracket", clip(text))
		}
		if a, err := netip.ParseAddr(host); err != nil || !a.Is6() {
			return "", 0, fmt.Errorf("%q is not an IPv6 address in brackets", clip(text))
		}
		if digits, found = strings.CutPrefix(rest, ":"); !found && rest != "" {
			return "", 0, fmt.Errorf("%q has text behind the bracket", clip(text))
		}
	} else {
		host, digits, found = strings.Cut(text, ":")
	}
	if !found {
		return host, 0, nil
	}
	n, err := strconv.ParseUint(digits, 10, 16)
	if err != nil || n == 0 {
		return "", 0, fmt.Errorf("%q has no port from 1 to 65535 behind the colon", clip(text))
	}
	return host, uint16(n), nil
}

// parseHost reads a host name, with or without the trailing dot, into the
// model's form: lower case, no trailing dot.
func parseHost(text string) (string, error) {
	host := strings.ToLower(strings.TrimSuffix(text, "."))
	if err := checkHost(host); err != nil {
		return "", fmt.Errorf("host %q %w", clip(text), err)
	}
	return host, nil
}

func checkHost(host string) error {
	if len(host) > 253 { // RFC 1035 section 2.3.4: 255 octets on the wire
		return fmt.Errorf("has %d octets, at most 253 are allowed", len(host))
	}
	last := ""
	for label := range strings.SplitSeq(host, ".") {
		if err := discovery.ValidLabel(label); err != nil {
			return fmt.Errorf("has a label that %w", err)
		}
		last = label
	}
	if _, err := strconv.ParseUint(last, 10, 64); err == nil {
		// RFC 1123 section 2.1: that is a mistyped IPv4 address.
		return errors.New("ends in a number: neither a host name nor an IP address")
	}
	return nil
}
