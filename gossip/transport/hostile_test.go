package transport

import (
	"crypto/tls"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/gossip/trust"
)

// hostile is a client that speaks the protocol as it likes, from an address of
// its own: all of 127.0.0.0/8 is this machine's on Linux.
type hostile struct {
	id   *trust.Identity
	from string // source address; "": any
}

func (h hostile) tcp(to net.Addr) (net.Conn, error) {
	d := net.Dialer{Timeout: patience}
	if h.from != "" {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(h.from)}
	}
	return d.Dial("tcp", to.String())
}

// tls shakes hands and says what protocol it wants.
func (h hostile) tls(t testing.TB, to net.Addr, proto string) *tls.Conn {
	t.Helper()
	raw, err := h.tcp(to)
	require.NoError(t, err)
	config := h.id.Client(nil, "", proto)
	config.VerifyConnection = nil // it does not mind whom it talks to
	conn := tls.Client(raw, config)
	t.Cleanup(func() { _ = conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	require.NoError(t, conn.Handshake())
	return conn
}

// hello introduces itself under a name and gives the answer.
func (h hostile) hello(t testing.TB, to net.Addr, k kind, name string) (*tls.Conn, answer) {
	t.Helper()
	conn := h.tls(t, to, ProtoGossip)
	_, err := conn.Write(hello{kind: k, from: name}.encode())
	require.NoError(t, err)
	a, err := readAnswer(conn)
	require.NoError(t, err)
	return conn, a
}

// refusedFor waits until a reason's counter has reached a value.
func (r *running) refusedFor(t testing.TB, reason string, atLeast float64) {
	t.Helper()
	require.Eventually(t, func() bool { return r.refusals(t, reason) >= atLeast }, patience, time.Millisecond, reason)
}

// east is a victim, and the authority of its clusterset.
func victim(t testing.TB, limits Limits) (*running, *trust.Authority) {
	t.Helper()
	prod := newAuthority(t, "prod")
	return start(t, Config{Name: "w0.east", Identity: identity(t, prod, "east", trust.Watcher), Limits: limits}), prod
}

// TestStrangersStayOutside: whoever has no certificate of a watcher of this
// clusterset never gets to say a word of gossip.
func TestStrangersStayOutside(t *testing.T) {
	staging, prod := newAuthority(t, "staging"), newAuthority(t, "prod")
	expired, _ := issued(t, prod, trust.ID{Clusterset: "prod", Cluster: "west", Role: trust.Watcher}, -time.Minute)
	east := start(t, Config{Name: "w0.east", Identity: identity(t, prod, "east", trust.Watcher, staging)})
	for _, c := range []struct {
		name   string
		config *tls.Config
		reason string
	}{
		{"wrong root", identity(t, newAuthority(t, "prod"), "west", trust.Watcher).Client(nil, "", ProtoGossip), string(trust.ReasonWrongRoot)},
		{"no certificate", &tls.Config{InsecureSkipVerify: true, NextProtos: []string{ProtoGossip}}, string(trust.ReasonNoCertificate)},
		{"expired", expired.Client(nil, "", ProtoGossip), string(trust.ReasonExpired)},
		// Its root is in our bundle, but vouches for another clusterset.
		{"another clusterset", identity(t, staging, "west", trust.Watcher, prod).Client(nil, "", ProtoGossip), string(trust.ReasonWrongRoot)},
		{"an agent", identity(t, prod, "west", trust.Agent).Client(nil, "", ProtoGossip), refusedRole},
		{"another ALPN protocol", identity(t, prod, "west", trust.Watcher).Client(nil, ""), refusedProtocol},
		{"TLS 1.2", &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12, NextProtos: []string{ProtoGossip}}, refusedTLS},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := east.refusals(t, c.reason)
			raw, err := net.Dial("tcp", east.Addr().String())
			require.NoError(t, err)
			defer raw.Close()
			c.config.VerifyConnection = nil // it does not mind whom it talks to
			conn := tls.Client(raw, c.config)
			require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
			if err := conn.Handshake(); err == nil { // TLS 1.3: the server looks later
				_, _ = conn.Write(hello{kind: kindPackets, from: "w0.west"}.encode())
				a, err := readAnswer(conn)
				require.True(t, err != nil || a.code == codeRefused)
			}
			east.refusedFor(t, c.reason, before+1)
		})
	}
	require.Zero(t, value(t, east.metrics.conns.WithLabelValues(kindPackets.String())))
}
