package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/isthmus-dns/isthmus/gossip"
	"github.com/isthmus-dns/isthmus/gossip/trust"
)

// dial opens a connection of a kind, until ctx ends: TCP, TLS, hello. Errors
// name the peer and what to look at. The *conn is what closes it.
func (t *Transport) dial(ctx context.Context, to gossip.Peer, k kind) (*conn, net.Conn, error) {
	c, secured, err := t.reach(ctx, to, k)
	if err != nil {
		t.metrics.dials.WithLabelValues(k.String(), "error").Inc()
		if ctx.Err() != nil && !errors.Is(err, ctx.Err()) {
			err = fmt.Errorf("%w: %w", ctx.Err(), err)
		}
		return nil, nil, err
	}
	t.metrics.dials.WithLabelValues(k.String(), "ok").Inc()
	c.establish(k.String())
	t.vouch(c, secured)
	return c, secured, nil
}

func (t *Transport) reach(ctx context.Context, to gossip.Peer, k kind) (*conn, net.Conn, error) {
	sibling, direct := t.siblings.addr(to.Name)
	if direct {
		to.Addr = sibling.String()
	}
	c, err := t.connect(ctx, to.Addr)
	if err != nil {
		err = fmt.Errorf("%s: %w", who(to), err)
	} else {
		var secured net.Conn
		if secured, _, err = t.meet(ctx, c, to, k); err == nil {
			return c, secured, nil
		}
	}
	if direct && !errors.Is(ctx.Err(), context.Canceled) {
		t.siblings.forget(sibling, err) // the next dial takes the long way
	}
	return nil, nil, err
}

// connect opens a TCP connection.
func (t *Transport) connect(ctx context.Context, addr string) (*conn, error) {
	var d net.Dialer
	raw, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	c, err := t.own(raw, false)
	if err != nil {
		_ = raw.Close()
		return nil, err
	}
	return c, nil
}

// meet does TLS and the hello on a connection, and closes it when they fail.
// The name is the answerer's.
func (t *Transport) meet(ctx context.Context, c *conn, to gossip.Peer, k kind) (secured net.Conn, name string, err error) {
	// Whatever happens from here to the answer, it happens until ctx ends.
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	secured, err = t.secure(ctx, c, to)
	if err == nil {
		name, err = t.introduce(secured, to, k)
	}
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		_ = c.Close()
		return nil, "", fmt.Errorf("%s: %w", who(to), err)
	}
	return secured, name, nil
}

// ask asks who is at an address; it must be a watcher of our own cluster.
func (t *Transport) ask(ctx context.Context, addr string) (name string, err error) {
	c, err := t.connect(ctx, addr)
	if err == nil {
		_, name, err = t.meet(ctx, c, gossip.Peer{Addr: addr}, kindAsk)
		_ = c.Close() // no more is to come
	}
	if err == nil {
		// introduce has compared it with the certificate.
		if _, cluster, _ := gossip.SplitName(name); cluster != t.id.Cluster {
			err = fmt.Errorf("answered by %s, which is of another cluster", name)
		}
	}
	result := "ok"
	if err != nil && !errors.Is(err, gossip.ErrSelf) {
		result = "error"
	}
	t.metrics.dials.WithLabelValues(kindAsk.String(), result).Inc()
	return name, err
}

func who(p gossip.Peer) string {
	if p.Name == "" {
		return p.Addr
	}
	return p.Name + " at " + p.Addr
}

// secure does the TLS handshake. Nobody but the watchers of the wanted cluster
// may answer.
func (t *Transport) secure(ctx context.Context, c *conn, to gossip.Peer) (net.Conn, error) {
	if t.cfg.Identity.Plaintext() {
		return c, nil
	}
	s := tls.Client(c, t.cfg.Identity.Client(t.allow(to), t.serverName(to), ProtoGossip))
	if err := s.HandshakeContext(ctx); err != nil {
		return nil, explain(err)
	}
	if p := s.ConnectionState().NegotiatedProtocol; p != ProtoGossip {
		return nil, fmt.Errorf("peer does not speak %s", ProtoGossip)
	}
	return s, nil
}

// serverName is the SNI by which a gossip connection is addressed to one
// watcher: <watcher>.<cluster>.<clusterset>.
func (t *Transport) serverName(to gossip.Peer) string {
	if to.Name == "" {
		return ""
	}
	return to.Name + "." + t.id.Clusterset
}

func (t *Transport) allow(to gossip.Peer) func(trust.ID) error {
	return func(id trust.ID) error {
		if id.Role != trust.Watcher {
			return fmt.Errorf("want a watcher, got %s", id)
		}
		if to.Name == "" {
			return nil
		}
		if _, cluster, err := gossip.SplitName(to.Name); err != nil || id.Cluster != cluster {
			return fmt.Errorf("want cluster %s, got %s", cluster, id)
		}
		return nil
	}
}

// introduce says hello and hears the answer, and from whom.
func (t *Transport) introduce(c net.Conn, to gossip.Peer, k kind) (name string, err error) {
	h := hello{kind: k, instance: t.instance, from: t.cfg.Name, to: to.Name}
	if _, err := c.Write(h.encode()); err != nil {
		return "", t.explainAnswer(c, err)
	}
	a, err := readAnswer(c)
	if err != nil {
		return "", t.explainAnswer(c, err)
	}
	if err := t.checkAnswerer(c, a.name); err != nil {
		return "", err
	}
	switch {
	case a.code == codeSelf:
		return "", gossip.ErrSelf
	case a.code != codeOK:
		return "", fmt.Errorf("refused by %s: %s", a.name, a.reason)
	case to.Name != "" && a.name != to.Name:
		return "", fmt.Errorf("answered by %s", a.name)
	}
	return a.name, nil
}

// checkAnswerer wants the answerer's name to fit its certificate.
func (t *Transport) checkAnswerer(c net.Conn, name string) error {
	s, ok := c.(*tls.Conn)
	if !ok {
		return nil
	}
	id, err := trust.PeerID(s.ConnectionState())
	if err != nil {
		return err
	}
	if _, cluster, err := gossip.SplitName(name); err != nil || cluster != id.Cluster {
		return fmt.Errorf("answered by %s with a certificate of cluster %s", name, id.Cluster)
	}
	return nil
}

// explain takes the library's words off a refusal of ours.
func explain(err error) error {
	var r *trust.RefusedError
	if errors.As(err, &r) {
		return r
	}
	return err
}

// explainAnswer adds both issuers to a bare alert: the peer has refused our
// certificate, which in TLS 1.3 shows only after our side of the handshake.
func (t *Transport) explainAnswer(c net.Conn, err error) error {
	var alert *net.OpError
	s, ok := c.(*tls.Conn)
	if !ok || !errors.As(err, &alert) || alert.Op != "remote error" { // so crypto/tls names an alert
		return err
	}
	ours, theirs := "unknown", "unknown"
	if own, err := t.cfg.Identity.Client(nil, "").GetClientCertificate(nil); err == nil && own.Leaf != nil {
		ours = own.Leaf.Issuer.String()
	}
	if certs := s.ConnectionState().PeerCertificates; len(certs) > 0 {
		theirs = certs[len(certs)-1].Issuer.String()
	}
	return fmt.Errorf("peer refused our certificate (%w): ours was issued by %q, its own by %q; its log has the reason", err, ours, theirs)
}
