package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
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

// arrival is what an accepted connection turns out to be.
type arrival struct {
	conn    net.Conn // secured
	proto   string
	through *conn // not nil: it is for a sibling, and this is the way there
	stays   error // why one that is for a sibling stays with us
}

// serve takes an accepted connection from its first octet to its end.
func (t *Transport) serve(ctx context.Context, c *conn) {
	leave := t.halfOpen.enter(c)
	a, err := t.shakeHands(ctx, c)
	var h hello
	if err == nil && a.through == nil {
		h, err = t.welcome(c, a)
	}
	evicted := leave()
	switch {
	case ctx.Err() != nil, errors.Is(err, gossip.ErrSelf):
		_ = c.Close()
	case evicted:
		t.refuse(c.RemoteAddr(), refusedHalfOpen, errLimit)
		_ = c.Close()
	case err != nil:
		t.refuse(c.RemoteAddr(), reasonOf(err), err)
		_ = c.Close()
	case a.through != nil:
		t.serveSplice(c, a.through)
	case a.proto == protoGRPC:
		t.serveGRPC(ctx, c, a.conn)
	case h.kind == kindAsk: // the answer was all
		_ = c.Close()
	case h.kind == kindStream:
		t.serveStream(ctx, c, a.conn)
	default:
		t.servePackets(ctx, c, a.conn, h.from)
	}
}

// welcome makes sure of who has come to us, and whether there is room.
func (t *Transport) welcome(c *conn, a arrival) (h hello, err error) {
	if a.proto == ProtoGossip {
		if h, err = t.greet(c, a); err != nil {
			return h, err
		}
	}
	t.vouch(c, a.conn)
	if a.proto == protoGRPC {
		err = t.holdGRPC(c, a.conn)
	}
	return h, err
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
// says what the connection speaks and whether it is for us. The deadline it
// sets covers the hello too.
func (t *Transport) shakeHands(ctx context.Context, c *conn) (arrival, error) {
	if err := c.SetDeadline(time.Now().Add(t.cfg.Limits.HandshakeTimeout)); err != nil {
		return arrival{}, err
	}
	o := &opening{conn: c}
	head, err := o.begin()
	if err != nil {
		return arrival{}, err
	}
	if t.cfg.Identity.Plaintext() {
		return t.openPlain(ctx, o, head)
	}
	return t.openTLS(ctx, o)
}

// openTLS shakes hands with whoever means us. crypto/tls asks for a
// configuration when it has read the ClientHello and has written nothing: there
// a connection whose SNI names a sibling takes its leave.
func (t *Transport) openTLS(ctx context.Context, o *opening) (a arrival, err error) {
	config := t.cfg.Identity.Server(nil, ProtoGossip, protoGRPC)
	config.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		a.through, a.stays = t.detour(ctx, o, t.addressee(h.ServerName))
		if a.through != nil {
			return nil, errSpliced
		}
		o.ours()
		return nil, nil
	}
	s := tls.Server(o, config)
	err = s.HandshakeContext(ctx)
	switch {
	case a.through != nil:
		return a, nil
	case err != nil:
		return a, err
	}
	a.conn, a.proto = s, s.ConnectionState().NegotiatedProtocol
	if a.proto != ProtoGossip && a.proto != protoGRPC {
		return a, refused(refusedProtocol, "connection without an ALPN protocol: want %s or %s", ProtoGossip, protoGRPC)
	}
	return a, nil
}

// openPlain tells gRPC from gossip by the first four octets. The hello says
// whom gossip is for; in gRPC nothing does.
func (t *Transport) openPlain(ctx context.Context, o *opening, head string) (a arrival, err error) {
	a.conn = o
	switch head {
	case magic:
		a.proto = ProtoGossip
		if h, err := readHello(o); err == nil {
			a.through, a.stays = t.detour(ctx, o, h.to)
		}
		if a.through == nil {
			o.again()
		}
		return a, nil
	case "PRI ": // the HTTP/2 connection preface, RFC 9113 section 3.4
		a.proto = protoGRPC
		o.ours()
		return a, nil
	}
	return a, refused(refusedProtocol, "connection begins with %q: neither gossip nor gRPC in plain text", head)
}

// greet reads the hello and answers it.
func (t *Transport) greet(base *conn, from arrival) (hello, error) {
	c := from.conn
	h, err := readHello(c)
	if err == nil {
		err = t.checkHello(from, h)
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
func (t *Transport) checkHello(a arrival, h hello) error {
	_, cluster, err := gossip.SplitName(h.from)
	if err != nil {
		return err
	}
	if s, ok := a.conn.(*tls.Conn); ok {
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
	case h.to != "" && h.to != t.cfg.Name && a.stays != nil:
		return refused(refusedMember, "this is %s, not %s (%w)", t.cfg.Name, h.to, a.stays)
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
