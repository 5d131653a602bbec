package probe

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"syscall"
	"time"

	"github.com/isthmus-dns/isthmus/discovery"
)

const (
	// maxHandshake bounds what a TLS peer may send: certificate chains have 3
	// to 6 KiB, lists of acceptable authorities up to 20.
	maxHandshake = 64 << 10
	// maxHeader bounds an HTTP response: its header, and what of the body
	// comes with it. The body is not read, the status tells all.
	maxHeader = 16 << 10
	// maxInformational is how many responses 1xx may come before the real
	// one; net/http's client takes five.
	maxInformational = 5
	userAgent        = "isthmus-probe"
)

// DialFunc opens a TCP connection. It must give up when ctx ends.
type DialFunc func(ctx context.Context, addr netip.AddrPort) (net.Conn, error)

// errNoRoute is that this machine has no way to an address.
var errNoRoute = errors.New("no route from here")

// dialTCP connects, and sends no keep-alives: the connection lives for one
// check.
func dialTCP(ctx context.Context, addr netip.AddrPort) (net.Conn, error) {
	d := net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: false}, KeepAlive: -1}
	conn, err := d.DialTCP(ctx, "tcp", netip.AddrPort{}, addr)
	if err != nil {
		if unreached(err) && !routed(addr) {
			err = errNoRoute
		}
		return nil, err
	}
	return conn, nil
}

// unreached tells errors that routers on the way bring about as well as this
// machine's own routes: none, "unreachable" and "prohibit".
func unreached(err error) bool {
	return errors.Is(err, syscall.ENETUNREACH) || errors.Is(err, syscall.EHOSTUNREACH) || errors.Is(err, syscall.EACCES)
}

// routed tells whether this machine has a way to an address: connecting a UDP
// socket looks the route up and sends nothing.
func routed(addr netip.AddrPort) bool {
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(addr))
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}

// result is what one check found.
type result struct {
	outcome outcome
	detail  string        // why it failed, without anything that differs each time
	rtt     time.Duration // that connecting took; 0 when it didn't connect
}

// checker makes single checks. Each opens a connection of its own and closes
// it before it returns; nothing is reused, redirected or sent through a proxy.
type checker struct {
	dial  DialFunc
	roots *x509.CertPool
}

// check tests a target that has an address. It returns within timeout.
func (c checker) check(ctx context.Context, t Target, timeout time.Duration) result {
	start := time.Now()
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	conn, err := c.dial(ctx, netip.AddrPortFrom(t.Addr, t.Port))
	if err != nil {
		return failure(err, "connect")
	}
	defer conn.Close()
	r := result{rtt: time.Since(start)}
	// One deadline for all that follows. When the prober stops, it is now.
	if err := conn.SetDeadline(start.Add(timeout)); err != nil {
		return failure(err, "connect")
	}
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()

	failed := result{}
	switch {
	case t.Check == discovery.CheckTLS:
		_, failed = c.handshake(conn, t)
	case t.Check == discovery.CheckHTTP && t.Secure:
		var inner net.Conn
		if inner, failed = c.handshake(conn, t); failed.outcome == good {
			failed = get(inner, t)
		}
	case t.Check == discovery.CheckHTTP:
		failed = get(conn, t)
	}
	failed.rtt = r.rtt
	return failed
}

// handshake speaks TLS as far as the peer proves that it holds its
// certificate's key. A peer that asks for a client's certificate is good when
// it has done so, whatever it then says to having got none: mutual TLS can't
// be gone through from outside.
func (c checker) handshake(conn net.Conn, t Target) (net.Conn, result) {
	name := t.Host
	if name == "" {
		name = t.Addr.String() // is verified, but not sent: RFC 6066 section 3
	}
	asked := false
	config := &tls.Config{
		ServerName:         name,
		RootCAs:            c.roots,
		InsecureSkipVerify: !t.Verify, // as the target says; a check sends nothing secret
		NextProtos:         protocols(t),
		// TLS 1.2 sends this in the middle of the handshake, after the peer's
		// certificate; TLS 1.3 at its end.
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			asked = true
			return &tls.Certificate{}, nil
		},
	}
	if !t.Verify {
		config.MinVersion, config.CipherSuites = tls.VersionTLS10, allSuites
	}
	inner := tls.Client(&bounded{Conn: conn, left: maxHandshake}, config)
	err := inner.Handshake()
	if err == nil || asked && t.Check == discovery.CheckTLS && !isTimeout(err) {
		return inner, result{}
	}
	return nil, failure(err, "tls")
}

// allSuites are offered where nothing has to be secret: an old load balancer that
// speaks none of today's is up all the same.
var allSuites = func() (ids []uint16) {
	for _, s := range slices.Concat(tls.CipherSuites(), tls.InsecureCipherSuites()) {
		ids = append(ids, s.ID)
	}
	return ids
}()

// protocols names HTTP/1.1 where that is what will be spoken. Otherwise no
// protocol is named: a peer that wants none of those named refuses (RFC 7301).
func protocols(t Target) []string {
	if t.Check == discovery.CheckHTTP {
		return []string{"http/1.1"}
	}
	return nil
}

// get asks for the target's path and looks at the status: 200 to 399 is good.
func get(conn net.Conn, t Target) result {
	u, err := url.ParseRequestURI(t.Path)
	if err != nil {
		return result{outcome: badProtocol, detail: "path can't be asked for"}
	}
	host := t.Host
	if host == "" {
		host = netip.AddrPortFrom(t.Addr, t.Port).String()
	}
	req := &http.Request{
		Method: http.MethodGet, URL: u, Host: host, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"User-Agent": {userAgent}, "Accept": {"*/*"}},
		Close:  true,
	}
	if err := req.Write(conn); err != nil {
		return failure(err, "http")
	}
	status, err := readStatus(conn, req)
	switch {
	case err != nil:
		return failure(err, "http")
	case status < http.StatusOK || status >= http.StatusBadRequest:
		return result{outcome: badStatus, detail: fmt.Sprintf("http: status %d", status)}
	}
	return result{}
}

// readStatus reads the header of a response.
func readStatus(r io.Reader, req *http.Request) (int, error) {
	limited := &boundedReader{r: r, left: maxHeader}
	b := bufio.NewReader(limited)
	for range maxInformational + 1 {
		// The body is not closed, as that would read it to its end; closing
		// the connection frees all.
		resp, err := http.ReadResponse(b, req) //nolint:bodyclose
		if limited.err != nil {
			err = limited.err // what broke off reads as malformed
		}
		if err != nil {
			return 0, err
		}
		if resp.StatusCode >= 200 || resp.StatusCode == http.StatusSwitchingProtocols {
			return resp.StatusCode, nil
		}
	}
	return 0, errors.New("too many informational responses")
}

// errTooMuch is a peer that sends more than a check will read.
var errTooMuch = errors.New("the peer sends too much")

// boundedReader reads so much and then fails.
type boundedReader struct {
	r    io.Reader
	left int
	err  error // the last one
}

func (b *boundedReader) Read(p []byte) (int, error) {
	if b.left <= 0 {
		b.err = errTooMuch
		return 0, b.err
	}
	n, err := b.r.Read(p[:min(len(p), b.left)])
	b.left, b.err = b.left-n, err
	return n, err
}

// bounded is a connection that is read up to a bound. What follows the
// handshake in it counts, too: maxHeader fits.
type bounded struct {
	net.Conn
	left int
}

func (b *bounded) Read(p []byte) (int, error) {
	r := boundedReader{r: b.Conn, left: b.left}
	n, err := r.Read(p)
	b.left = r.left
	return n, err
}
