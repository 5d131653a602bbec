package dns

import (
	"context"
	"io"
	"net"
	"net/netip"
	"time"

	"github.com/coredns/caddy"
)

const (
	// probeWait bounds one probe, probesWait all of them: loopback answers
	// within microseconds, and a server behind a PROXY protocol never does.
	probeWait  = 50 * time.Millisecond
	probesWait = 500 * time.Millisecond
)

// header is a DNS message without a question. The DNS library answers it with
// FORMERR by itself, before any plugin sees it.
var header = [12]byte{1: 1}

// awaitServing waits until every server has begun to read from its sockets, as
// far as that can be seen. Sockets are open before; but a CoreDNS server that
// is told to stop in between (core/dnsserver, Server.Stop) never does.
func awaitServing(instance *caddy.Instance) {
	ctx, cancel := context.WithTimeout(context.Background(), probesWait)
	defer cancel()
	for _, s := range instance.Servers() {
		// Only plain DNS listens on a UDP and a TCP socket; the others are
		// Go's HTTP and gRPC servers, or DNS over TLS.
		udp, tcp := s.LocalAddr(), s.Addr()
		if udp == nil || tcp == nil {
			continue
		}
		for ctx.Err() == nil && !answers(ctx, "udp", udp) {
		}
		for ctx.Err() == nil && !answers(ctx, "tcp", tcp) {
		}
	}
}

func answers(ctx context.Context, network string, to net.Addr) bool {
	ctx, cancel := context.WithTimeout(ctx, probeWait)
	defer cancel()
	var d net.Dialer
	c, err := d.DialContext(ctx, network, reachable(to))
	if err != nil {
		<-ctx.Done() // no faster than its turn
		return false
	}
	defer c.Close()
	deadline, _ := ctx.Deadline()
	_ = c.SetDeadline(deadline) // fails on a closed connection only
	message := header[:]
	if network == "tcp" {
		message = append([]byte{0, byte(len(header))}, message...) // RFC 1035 section 4.2.2
	}
	if _, err := c.Write(message); err != nil {
		<-ctx.Done()
		return false
	}
	reply := make([]byte, len(message))
	_, err = io.ReadFull(c, reply)
	return err == nil
}

// reachable is where a socket that is bound to all addresses can be reached.
func reachable(a net.Addr) string {
	address, err := netip.ParseAddrPort(a.String())
	if err != nil || !address.Addr().IsUnspecified() {
		return a.String()
	}
	loopback := netip.IPv6Loopback()
	if address.Addr().Is4() {
		loopback = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	return netip.AddrPortFrom(loopback, address.Port()).String()
}
