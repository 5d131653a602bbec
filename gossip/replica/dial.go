package replica

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	"github.com/isthmus-dns/isthmus/gossip/trust"
)

// ALPN is the protocol that tells gRPC from gossip on a watcher's one port.
const ALPN = "h2"

// dialTimeout bounds connecting and the TLS handshake together.
const dialTimeout = 5 * time.Second

// target is a watcher to connect to.
type target struct {
	addr    string // host:port
	member  string // "<watcher>.<cluster>", "" for any watcher of the cluster
	cluster string // "" for whatever watcher answers
}

// serverName is the SNI by which a load balancer's backend can tell for whom a
// connection is.
func (t target) serverName(clusterset string) string {
	switch {
	case t.member != "":
		return t.member + "." + clusterset
	case t.cluster != "":
		return t.cluster + "." + clusterset
	}
	return clusterset
}

// dial makes a gRPC connection to a watcher; it connects at the first call and
// resolves the address anew at each attempt.
func dial(identity *trust.Identity, t target) (*grpc.ClientConn, error) {
	return client(identity, t.addr, func(ctx context.Context, addr string) (net.Conn, error) {
		return connect(ctx, identity, addr, t)
	})
}

// dial makes a gRPC connection to a peer that is pulled from.
func (r *Replica) dial(to Peer) (*grpc.ClientConn, error) {
	if d := r.config.Dial; d != nil {
		return client(r.config.Identity, to.Addr, func(ctx context.Context, _ string) (net.Conn, error) { return d(ctx, to) })
	}
	return dial(r.config.Identity, target{addr: to.Addr, member: to.Name, cluster: to.Cluster})
}

func client(identity *trust.Identity, addr string, dialer func(ctx context.Context, addr string) (net.Conn, error)) (*grpc.ClientConn, error) {
	options := []grpc.DialOption{
		grpc.WithContextDialer(dialer),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxRPC), grpc.MaxCallSendMsgSize(maxRPC)),
		// A watcher that vanished without a FIN is noticed in 15 s.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 5 * time.Second}),
		grpc.WithConnectParams(grpc.ConnectParams{MinConnectTimeout: dialTimeout, Backoff: backoff.Config{
			BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.3, MaxDelay: 5 * time.Second,
		}}),
		// Proxies of the environment are for the Internet, not for peers.
		grpc.WithNoProxy(),
	}
	if identity.Plaintext() {
		options = append(options, grpc.WithTransportCredentials(insecure.NewCredentials()))
	} else {
		options = append(options, grpc.WithTransportCredentials(handshaken{}))
	}
	return grpc.NewClient("passthrough:///"+addr, options...)
}

// connect dials and, unless the identity is plaintext, shakes hands.
func connect(ctx context.Context, identity *trust.Identity, addr string, t target) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	raw, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil || identity.Plaintext() {
		return raw, err
	}
	conn := tls.Client(raw, identity.Client(func(id trust.ID) error {
		return allowWatcher(identity.ID(), id, t.cluster)
	}, t.serverName(identity.ID().Clusterset), ALPN))
	if err := conn.HandshakeContext(ctx); err != nil {
		raw.Close()
		return nil, fmt.Errorf("watcher %s: %w", addr, err)
	}
	return conn, nil
}

// allowWatcher wants the other side to be a watcher of the cluster.
func allowWatcher(own, peer trust.ID, cluster string) error {
	switch {
	case peer.Clusterset != own.Clusterset:
		return fmt.Errorf("it belongs to clusterset %s, not %s", peer.Clusterset, own.Clusterset)
	case peer.Role != trust.Watcher:
		return fmt.Errorf("it is a %s, not a watcher", peer.Role)
	case cluster != "" && peer.Cluster != cluster:
		return fmt.Errorf("its certificate is for cluster %s, not %s", peer.Cluster, cluster)
	}
	return nil
}

// handshaken are gRPC credentials for connections whose TLS handshake is done:
// the dialer or the listener has seen to it.
type handshaken struct{}

var errNotTLS = errors.New("connection carries no TLS")

func (handshaken) ClientHandshake(_ context.Context, _ string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return done(conn)
}

func (handshaken) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return done(conn)
}

func done(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	t, ok := conn.(interface{ ConnectionState() tls.ConnectionState })
	if !ok {
		return nil, nil, errNotTLS
	}
	state := t.ConnectionState()
	if !state.HandshakeComplete {
		return nil, nil, errNotTLS
	}
	return conn, credentials.TLSInfo{
		State:          state,
		CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity},
	}, nil
}

func (handshaken) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "tls"}
}

func (handshaken) Clone() credentials.TransportCredentials { return handshaken{} }

func (handshaken) OverrideServerName(string) error { return nil }
