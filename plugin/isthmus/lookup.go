package isthmus

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/isthmus-dns/isthmus/discovery"
)

// lookupFunc finds the addresses of one family, "ip4" or "ip6", that a host
// name has. It gives up when ctx ends.
type lookupFunc func(ctx context.Context, network, host string) found

// found is what a lookup has learned of one family.
type found struct {
	addrs []netip.Addr
	ttl   time.Duration // how long the addresses hold; unknownTTL when nobody told
	// err is nil, errNoAddress when the DNS says that there is none, or else
	// says why nothing was learned.
	err error
}

// unknownTTL is that of addresses from /etc/hosts.
const unknownTTL time.Duration = -1

// errNoAddress is NXDOMAIN or NODATA, or addresses that nobody can connect to.
var errNoAddress = errors.New("no such name, or no usable address")

// failure is why a family is not known, nil also when it is known to be empty.
func (f found) failure() error {
	if errors.Is(f.err, errNoAddress) {
		return nil
	}
	return f.err
}

// or is what to go by: what was found, or what was known when nothing was
// learned.
func (f found) or(known []netip.Addr) []netip.Addr {
	if f.failure() != nil {
		return known
	}
	return f.addrs
}

// usable sorts out what no client can connect to. Load balancers rotate the
// order of their addresses; sorted, equal sets are equal.
func (f found) usable() found {
	var kept []netip.Addr
	for _, a := range f.addrs {
		a = a.Unmap().WithZone("")
		if a.IsValid() && !a.IsUnspecified() && !a.IsMulticast() {
			kept = append(kept, a)
		}
	}
	slices.SortFunc(kept, netip.Addr.Compare)
	kept = slices.Compact(kept)
	f.addrs = kept[:min(len(kept), discovery.MaxAddresses)]
	if f.err == nil && len(f.addrs) == 0 {
		f.err = errNoAddress
	}
	return f
}

// dialFunc is net.Dialer.DialContext.
type dialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// systemLookup asks as the machine does: /etc/hosts, and the name servers of
// /etc/resolv.conf with its timeouts and attempts.
var systemLookup = lookupOver((&net.Dialer{}).DialContext)

// lookupOver is a lookup by Go's resolver, which reads the machine's files,
// retries, and goes to TCP when it must, but tells no TTL. That is taken from
// the responses as they pass on its connections.
func lookupOver(dial dialFunc) lookupFunc {
	return func(ctx context.Context, network, host string) found {
		// One watch and one resolver a lookup: resolvers share concurrent
		// lookups of a name, and the TTL would be told to one of them only.
		w := &ttlWatch{dialTo: dial, ttl: unknownTTL}
		r := &net.Resolver{PreferGo: true, Dial: w.dial}
		addrs, err := r.LookupNetIP(ctx, network, host+".") // the dot keeps search lists out of it
		f := found{addrs: addrs, ttl: w.last(), err: err}
		var dnsErr *net.DNSError
		if errors.As(err, &dnsErr) && dnsErr.IsNotFound {
			f.err = errNoAddress
		}
		return f
	}
}

// ttlWatch reads the responses of a lookup. Go's resolver drops those that
// don't fit its question and reads on, so the last one is what it went by. A
// forged one costs a lookup at the wrong time, within the bounds of refresh.
type ttlWatch struct {
	dialTo dialFunc

	mu  sync.Mutex
	ttl time.Duration // of the last response; guarded by mu
}

func (w *ttlWatch) last() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ttl
}

func (w *ttlWatch) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := w.dialTo(ctx, network, address)
	if err != nil {
		return nil, err
	}
	// Go's resolver tells datagrams from a stream by net.PacketConn.
	if udp, ok := conn.(*net.UDPConn); ok {
		return &watchedDatagrams{udp, w}, nil
	}
	return &watchedStream{Conn: conn, watch: w}, nil
}

// read takes a whole message.
func (w *ttlWatch) read(message []byte) {
	ttl := answerTTL(message)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ttl = ttl
}

// answerTTL is the smallest TTL of a response's answer section, which holds
// the addresses and the CNAME records that lead to them: none of them may be
// used for longer than it says.
func answerTTL(message []byte) time.Duration {
	m := &dns.Msg{}
	if m.Unpack(message) != nil || len(m.Answer) == 0 {
		return unknownTTL
	}
	least := m.Answer[0].Header().Ttl
	for _, rr := range m.Answer {
		least = min(least, rr.Header().Ttl)
	}
	if least > 1<<31-1 { // RFC 2181 section 8: such a TTL is to be taken for 0
		least = 0
	}
	return time.Duration(least) * time.Second
}

// watchedDatagrams are UDP, a message each.
type watchedDatagrams struct {
	*net.UDPConn
	watch *ttlWatch
}

// Read implements net.Conn.
func (c *watchedDatagrams) Read(b []byte) (int, error) {
	n, err := c.UDPConn.Read(b)
	if err == nil {
		c.watch.read(b[:n])
	}
	return n, err
}

// watchedStream is TCP: one message after its length in two octets (RFC 1035
// section 4.2.2), which bounds what is kept. A lookup opens a connection for
// each question.
type watchedStream struct {
	net.Conn
	watch *ttlWatch
	got   []byte
	done  bool
}

// maxResponse is several times what discovery.MaxAddresses after a long chain
// of CNAME records take. For each address in a response Go's resolver opens a
// socket, to put them in order.
const maxResponse = 8 << 10

var errLargeResponse = errors.New("response is larger than any list of addresses that is taken")

// Read implements net.Conn.
func (c *watchedStream) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n == 0 || c.done {
		return n, err
	}
	c.got = append(c.got, b[:n]...)
	const prefix = 2
	if len(c.got) < prefix {
		return n, err
	}
	size := int(binary.BigEndian.Uint16(c.got))
	if size > maxResponse {
		return 0, errLargeResponse
	}
	if end := prefix + size; len(c.got) >= end {
		c.watch.read(c.got[prefix:end])
		c.got, c.done = nil, true
	}
	return n, err
}
