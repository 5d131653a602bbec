// lookup any|a|aaaa|srv NAME, or ptr ADDRESS: what Go's net package finds, one a
// line. GODEBUG netdns=go or netdns=cgo says by which resolver.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
)

func main() {
	kind, name := os.Args[1], os.Args[2]
	lines, err := lookup(context.Background(), kind, name)
	if err != nil {
		var dnsErr *net.DNSError
		var noneOfFamily *net.AddrError // by the C library, when the name has only the other family
		if errors.As(err, &dnsErr) && dnsErr.IsNotFound || errors.As(err, &noneOfFamily) {
			fmt.Println("error IsNotFound")
			return
		}
		fmt.Println("error", err)
		return
	}
	for _, line := range lines {
		fmt.Println(line)
	}
}

func lookup(ctx context.Context, kind, name string) (lines []string, err error) {
	if kind == "ptr" {
		return net.DefaultResolver.LookupAddr(ctx, name)
	}
	if kind == "srv" {
		_, all, err := net.DefaultResolver.LookupSRV(ctx, "", "", name)
		for _, s := range all {
			lines = append(lines, fmt.Sprintf("%d %d %d %s", s.Priority, s.Weight, s.Port, s.Target))
		}
		return lines, err
	}
	network := map[string]string{"any": "ip", "a": "ip4", "aaaa": "ip6"}[kind]
	all, err := net.DefaultResolver.LookupNetIP(ctx, network, name)
	for _, a := range all {
		lines = append(lines, a.Unmap().String())
	}
	return lines, err
}
