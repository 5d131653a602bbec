package dns

import (
	"bytes"
	"fmt"
	"net"
	"strings"

	"github.com/coredns/caddy"
	"github.com/coredns/caddy/caddyfile"
	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/pkg/parse"
)

// place is where a zone is served, but for the address.
type place struct{ transport, zone, port string }

// overlap finds a zone that comes twice at one place without a view to choose
// by. CoreDNS finds it too, but only when it starts, and names no line.
func overlap(input caddy.Input, list []caddyfile.ServerBlock) error {
	type server struct{ host, key string }
	seen := make(map[place][]server)
	for _, b := range list {
		if len(b.Tokens["view"]) > 0 {
			continue
		}
		for _, key := range b.Keys {
			scheme, rest := parse.Transport(key)
			zones, _, err := plugin.SplitHostPort(rest)
			if err != nil {
				continue // CoreDNS refuses it
			}
			hosts, port := boundTo(listens(b, key))
			for _, z := range zones {
				at := place{scheme, plugin.Name(z).Normalize(), port}
				for _, host := range hosts {
					for _, other := range seen[at] {
						if other.host == host || other.host == "" || host == "" {
							return &CorefileError{
								File: input.Path(), Line: secondLine(input, other.key, key),
								Text: fmt.Sprintf("%s:%s is served twice: join the two server blocks, or give one another port, bind or view", at.zone, port),
							}
						}
					}
					seen[at] = append(seen[at], server{host, key})
				}
			}
		}
	}
	return nil
}

// boundTo returns the hosts of a server block's addresses, "" for all, and
// their port.
func boundTo(all []listen) (hosts []string, port string) {
	for i, where := range all {
		if where.network != all[0].network || i > 0 && where.address == all[i-1].address {
			continue
		}
		host, p, err := net.SplitHostPort(where.address)
		if err != nil {
			continue
		}
		hosts, port = append(hosts, host), p
	}
	return hosts, port
}

// secondLine finds the line of a server block's key that comes after another's,
// 0 for none, as in a file that is imported.
func secondLine(input caddy.Input, first, second string) int {
	words, depth, found := caddyfile.NewDispenser(input.Path(), bytes.NewReader(input.Body())), 0, false
	for words.Next() {
		switch word := strings.TrimSuffix(words.Val(), ","); {
		case word == "{":
			depth++
		case word == "}":
			depth--
		case depth > 0:
		case found && word == second:
			return words.Line()
		case word == first:
			found = true
		}
	}
	return 0
}
