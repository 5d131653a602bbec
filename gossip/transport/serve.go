package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"github.com/isthmus-dns/isthmus/gossip"
	"github.com/isthmus-dns/isthmus/gossip/trust"
)

// refusal is an error with its reason for the metric.
type refusal struct {
	reason string
	err    error
}

func (r *refusal) Error() string { return r.err.Error() }
func (r *refusal) Unwrap() error { return r.err }

func refused(reason, format string, args ...any) error {
	return &refusal{reason: reason, err: fmt.Errorf(format, args...)}
}

// serve takes an accepted connection from its first octet to its end.
func (t *Transport) serve(ctx context.Context, c *conn) {
	leave := t.halfOpen.enter(c)
	secured, proto, err := t.shakeHands(ctx, c)
	var h hello
	if err == nil && proto == ProtoGossip {
		h, err = t.greet(c, secured)
	}
	if err == nil {
		t.vouch(c, secured)
	}
	if err == nil && proto == protoGRPC {
		err = t.holdGRPC(c, secured)
	}
	evicted := leave()
	switch {
	case ctx.Err() != nil:
		_ = c.Close()
	case evicted:
		t.refuse(c.RemoteAddr(), refusedHalfOpen, errLimit)
		_ = c.Close()
	case err != nil:
		t.refuse(c.RemoteAddr(), reasonOf(err), err)
		_ = c.Close()
	case proto == protoGRPC:
		t.serveGRPC(ctx, c, secured)
	case h.kind == kindStream:
		t.serveStream(ctx, c, secured)
	default:
		t.servePackets(ctx, c, secured, h.from)
	}
}

// reasonOf sorts an error for the metric.
func reasonOf(err error) string {
	var r *refusal
	var untrusted *trust.RefusedError
	switch {
	case errors.As(err, &r):
		return r.reason
	case errors.As(err, &untrusted):
		return string(untrusted.Reason)
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return refusedTimeout
	case errors.Is(err, errHello):
		return refusedHello
	}
	return refusedTLS
}

// shakeHands does TLS, or looks at the first octets where there is none, and
// says what the connection speaks. The deadline it sets covers the hello too.
//
// A connection whose SNI names a sibling of ours is to be spliced through to
// it: that has to be decided here, before the handshake.
func (t *Transport) shakeHands(ctx context.Context, c *conn) (net.Conn, string, error) {
	if err := c.SetDeadline(time.Now().Add(t.cfg.Limits.HandshakeTimeout)); err != nil {
		return nil, "", err
	}
	if t.cfg.Identity.Plaintext() {
		return peekProto(c)
	}
	s := tls.Server(c, t.cfg.Identity.Server(nil, ProtoGossip, protoGRPC))
	if err := s.HandshakeContext(ctx); err != nil {
		return nil, "", err
	}
	switch proto := s.ConnectionState().NegotiatedProtocol; proto {
	case ProtoGossip, protoGRPC:
		return s, proto, nil
	}
	return nil, "", refused(refusedProtocol, "connection without an ALPN protocol: want %s or %s", ProtoGossip, protoGRPC)
}

// peekProto tells gRPC from gossip by the first four octets.
func peekProto(c *conn) (net.Conn, string, error) {
	head := make([]byte, len(magic))
	if _, err := io.ReadFull(c, head); err != nil {
		return nil, "", err
	}
	p := &prefixed{Conn: c, prefix: head}
	switch string(head) {
	case magic:
		return p, ProtoGossip, nil
	case "PRI ": // the HTTP/2 connection preface, RFC 9113 section 3.4
		return p, protoGRPC, nil
	}
	return nil, "", refused(refusedProtocol, "connection begins with %q: neither gossip nor gRPC in plain text", head)
}

// prefixed is a connection with some octets read already.
type prefixed struct {
	net.Conn
	prefix []byte
}

func (p *prefixed) Read(b []byte) (int, error) {
	if len(p.prefix) > 0 {
		n := copy(b, p.prefix)
		p.prefix = p.prefix[n:]
		return n, nil
	}
	return p.Conn.Read(b)
}

// greet reads the hello and answers it.
func (t *Transport) greet(base *conn, c net.Conn) (hello, error) {
	h, err := readHello(c)
	if err == nil {
		err = t.checkHello(c, h)
	}
	if err == nil {
		err = t.admit(base, h)
	}
	a := answer{name: t.cfg.Name}
	switch {
	case errors.Is(err, gossip.ErrSelf):
		a.code = codeSelf
	case err != nil:
		a.code, a.reason = codeRefused, err.Error()
	}
	if _, werr := c.Write(a.encode()); err == nil {
		err = werr
	}
	return h, err
}

// checkHello compares the hello with the certificate and with ourselves.
func (t *Transport) checkHello(c net.Conn, h hello) error {
	_, cluster, err := gossip.SplitName(h.from)
	if err != nil {
		return err
	}
	if s, ok := c.(*tls.Conn); ok {
		id, err := trust.PeerID(s.ConnectionState())
		switch {
		case err != nil:
			return err
		case id.Role != trust.Watcher:
			return refused(refusedRole, "certificate is %s: only watchers gossip", id)
		case id.Clusterset != t.id.Clusterset:
			return refused(refusedName, "certificate names clusterset %s, want %s", id.Clusterset, t.id.Clusterset)
		case id.Cluster != cluster:
			return refused(refusedName, "certificate names cluster %s, member name %s says %s", id.Cluster, h.from, cluster)
		}
	}
	switch {
	case h.from == t.cfg.Name && h.instance == t.instance:
		return &refusal{reason: refusedMember, err: gossip.ErrSelf}
	case h.from == t.cfg.Name:
		return refused(refusedMember, "another process has the same member name, %s: give each watcher its own", h.from)
	case h.to != "" && h.to != t.cfg.Name:
		return refused(refusedMember, "this is %s, not %s", t.cfg.Name, h.to)
	}
	return nil
}

// serveGRPC hands a connection to the gRPC server.
func (t *Transport) serveGRPC(ctx context.Context, c *conn, secured net.Conn) {
	_ = secured.SetDeadline(time.Time{}) // a broken connection shows at the first read
	c.establish("grpc")
	c.handOver()
	err := errors.New("gRPC server does not accept")
	select {
	case <-t.grpc.done:
		err = errors.New("gRPC is not served")
	default:
		select {
		case t.grpc.conns <- secured:
			return
		case <-ctx.Done():
			err = nil
		case <-time.After(t.cfg.Limits.HandshakeTimeout):
		}
	}
	if err != nil {
		t.refuse(c.RemoteAddr(), refusedProtocol, err)
	}
	_ = c.Close()
}
