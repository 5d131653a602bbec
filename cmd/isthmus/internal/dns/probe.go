package dns

import (
	"errors"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"

	"github.com/coredns/caddy"
	"github.com/coredns/caddy/caddyfile"
	"github.com/coredns/coredns/plugin/pkg/transport"

	"github.com/isthmus-dns/isthmus/plugin/isthmus"
)

// probe tries to listen where the Corefile says, and closes again. CoreDNS
// listens with SO_REUSEPORT, which lets a second server of the same user in on
// a taken port, to share its queries by chance: nobody wants that from a
// server started twice. It happens before anything starts.
func probe(input caddy.Input, list []caddyfile.ServerBlock) error {
	for _, b := range list {
		for _, key := range b.Keys {
			for _, where := range listens(b, key) {
				if err := try(where); err != nil {
					return busy(input, where, cause(err))
				}
			}
		}
		for _, where := range sideListens(b) {
			if err := try(where); err != nil {
				return busy(input, where, cause(err))
			}
		}
	}
	return nil
}

// listen is an address to listen on.
type listen struct {
	network, address string
	line             int // of what asks for it; 0 when that is to be looked for
}

// sides are plugins that serve HTTP on an address of their own, with its
// default. CoreDNS's ready (plugin/pkg/uniq, ForEach) starts without a word
// when its port is taken, and a Pod would then never become ready.
var sides = map[string]string{
	"health": ":8080", "pprof": "localhost:6053", "prometheus": "localhost:9153", "ready": ":8181",
}

// sideListens lists the addresses that plugins of a server block serve HTTP on.
func sideListens(b caddyfile.ServerBlock) []listen {
	var all []listen
	for _, name := range slices.Sorted(maps.Keys(sides)) {
		tokens, address := b.Tokens[name], sides[name]
		if len(tokens) == 0 {
			continue
		}
		if len(tokens) > 1 && tokens[1].Line == tokens[0].Line && tokens[1].Text != "{" {
			address = tokens[1].Text
		}
		if _, _, err := net.SplitHostPort(address); err != nil {
			continue // the plugin says what it wants
		}
		all = append(all, listen{"tcp", address, tokens[0].Line})
	}
	return all
}

// listens lists a server block's addresses as far as the text tells them: a
// "bind" to an interface or with exceptions is for CoreDNS to resolve.
func listens(b caddyfile.ServerBlock, key string) []listen {
	origins := isthmus.Origins(key)
	if len(origins) == 0 {
		return nil // CoreDNS refuses it
	}
	scheme, port := origins[0].Transport, origins[0].Port
	hosts := []string{""}
	if tokens := b.Tokens["bind"]; len(tokens) > 0 {
		hosts = nil
		for _, token := range tokens {
			switch _, err := netip.ParseAddr(token.Text); {
			case token.Text == "bind":
			case err != nil:
				return nil
			default:
				hosts = append(hosts, token.Text)
			}
		}
	}
	var all []listen
	for _, host := range hosts {
		address := net.JoinHostPort(host, port)
		if scheme != transport.QUIC && scheme != transport.HTTPS3 {
			all = append(all, listen{network: "tcp", address: address})
		}
		if scheme == transport.DNS || scheme == transport.QUIC || scheme == transport.HTTPS3 {
			all = append(all, listen{network: "udp", address: address})
		}
	}
	return all
}

func try(where listen) error {
	if where.network == "udp" {
		c, err := net.ListenPacket(where.network, where.address)
		if err != nil {
			return err
		}
		return c.Close()
	}
	l, err := net.Listen(where.network, where.address)
	if err != nil {
		return err
	}
	return l.Close()
}

// cause is what the system said, without Go's layers around it.
func cause(err error) string {
	var call *os.SyscallError
	if errors.As(err, &call) {
		return call.Err.Error()
	}
	return err.Error()
}
