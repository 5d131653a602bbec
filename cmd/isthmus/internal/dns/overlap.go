package dns

import (
	"bytes"
	"fmt"
	"net"
	"strings"

	"github.com/coredns/caddy"
	"github.com/coredns/caddy/caddyfile"

	"github.com/isthmus-dns/isthmus/plugin/isthmus"
)

// overlap finds a zone that comes twice at one place without a view to choose
// by. CoreDNS finds it too, but only when it starts, and names no line.
func overlap(input caddy.Input, list []caddyfile.ServerBlock) error {
	type server struct{ host, key string }
	seen := make(map[isthmus.Origin][]server)
	for _, b := range list {
		if len(b.Tokens["view"]) > 0 {
			continue
		}
		for _, key := range b.Keys {
			hosts := boundTo(listens(b, key))
			for _, at := range isthmus.Origins(key) {
				for _, host := range hosts {
					for _, other := range seen[at] {
						if other.host == host || other.host == "" || host == "" {
							return &CorefileError{
								File: input.Path(), Line: secondLine(input, other.key, key),
								Text: fmt.Sprintf("%s:%s is served twice: join the two server blocks, or give one another port, bind or view", at.Zone, at.Port),
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

// boundTo returns the hosts of a server block's addresses, "" for all.
func boundTo(all []listen) (hosts []string) {
	for i, where := range all {
		if where.network != all[0].network || i > 0 && where.address == all[i-1].address {
			continue
		}
		if host, _, err := net.SplitHostPort(where.address); err == nil {
			hosts = append(hosts, host)
		}
	}
	return hosts
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
