package replica

import (
	"context"
	"errors"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/tap"

	"github.com/isthmus-dns/isthmus/gossip/replica/wire"
	"github.com/isthmus-dns/isthmus/gossip/trust"
)

// Limits of the server side.
const (
	// maxStreams bounds the agents of one watcher: Kubernetes supports 5,000
	// nodes a cluster.
	maxStreams = 6000
	// servedPulls bounds the pulls that are answered at once; more are told to
	// come back.
	servedPulls = 32
	// idleConnection is how long a connection without a call is kept. A
	// watcher's port takes a bounded number.
	idleConnection = 5 * time.Minute
	stopGrace      = 2 * time.Second
	// quietBuffer is what is read at once of a connection that carries
	// requests only; gRPC's default is 32 KiB.
	quietBuffer = 4 << 10
)

// server answers pulls and streams from a replica's store.
type server struct {
	wire.UnimplementedReplicaServer
	replica  *Replica
	pulls    chan struct{}
	shares   *shares
	streams  chan struct{}
	siblings chan struct{}
	ending   context.Context // Serve's, so that streams end with it
}

// Serve answers peers and agents on connections of a listener, whose TLS
// handshakes are done, until ctx ends. It closes the listener.
func (r *Replica) Serve(ctx context.Context, l net.Listener) error {
	return r.serve(ctx, l, pullTimeout)
}

func (r *Replica) serve(ctx context.Context, l net.Listener, pullLimit time.Duration) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := &server{
		replica: r, ending: ctx, shares: newShares(r.cluster),
		pulls: make(chan struct{}, servedPulls), streams: make(chan struct{}, maxStreams),
		siblings: make(chan struct{}, 2*maxSiblings), // a stream that broke may not have ended yet
	}
	options := []grpc.ServerOption{
		grpc.MaxRecvMsgSize(maxRPC), grpc.MaxSendMsgSize(maxRPC), grpc.MaxConcurrentStreams(16),
		grpc.ConnectionTimeout(dialTimeout),
		// 5,000 agents have a connection each, on which they say almost nothing.
		grpc.ReadBufferSize(quietBuffer),
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: idleConnection, Time: 20 * time.Second, Timeout: 10 * time.Second}),
		// Less than our clients' 10 s, which they keep to while a call is open.
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
		grpc.InTapHandle(boundPulls(pullLimit)), grpc.WaitForHandlers(true),
	}
	if !r.config.Identity.Plaintext() {
		options = append(options, grpc.Creds(handshaken{}))
	}
	g := grpc.NewServer(options...)
	wire.RegisterReplicaServer(g, s)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		<-ctx.Done()
		force := time.AfterFunc(stopGrace, g.Stop)
		defer force.Stop()
		g.GracefulStop()
	}()
	err := g.Serve(l)
	if ctx.Err() != nil {
		err = nil
	}
	cancel()
	<-stopped
	return err
}

// boundPulls ends pulls that take too long: a peer that does not read what it
// asked for would else keep its place for ever.
func boundPulls(limit time.Duration) tap.ServerInHandle {
	return func(ctx context.Context, info *tap.Info) (context.Context, error) {
		if info.FullMethodName != wire.Replica_Pull_FullMethodName {
			return ctx, nil
		}
		bounded, cancel := context.WithTimeout(ctx, limit)
		context.AfterFunc(ctx, cancel)
		return bounded, nil
	}
}

// admit refuses who may not read from us, and returns who it is. In plaintext
// everybody may, and is nobody.
func (s *server) admit(ctx context.Context, may func(own, id trust.ID) bool) (trust.ID, error) {
	own := s.replica.config.Identity.ID()
	if s.replica.config.Identity.Plaintext() {
		return trust.ID{}, nil
	}
	p, _ := peer.FromContext(ctx)
	if p == nil {
		return trust.ID{}, status.Error(codes.Unauthenticated, "connection has no peer")
	}
	info, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok {
		return trust.ID{}, status.Error(codes.Unauthenticated, errNotTLS.Error())
	}
	id, err := trust.PeerID(info.State)
	if err != nil {
		return trust.ID{}, status.Error(codes.Unauthenticated, err.Error())
	}
	if id.Clusterset != own.Clusterset || !may(own, id) {
		return trust.ID{}, status.Errorf(codes.PermissionDenied, "%s may not read from %s: agents read from their own cluster's watchers", id, own)
	}
	return id, nil
}

// place takes a place for a pull, or for an announcement, which is as dear.
func (s *server) place(of trust.ID) (leave func(), err error) {
	share := func() {}
	if of != (trust.ID{}) {
		var ok bool
		if share, ok = s.shares.enter(of.Cluster); !ok {
			return nil, status.Errorf(codes.ResourceExhausted, "too many pulls of cluster %s", of.Cluster)
		}
	}
	select {
	case s.pulls <- struct{}{}:
		return func() { <-s.pulls; share() }, nil
	default:
		share()
		return nil, status.Error(codes.ResourceExhausted, "too many pulls at once")
	}
}

// mayPull: the watchers of the clusterset, and our own cluster's agents.
func mayPull(own, id trust.ID) bool { return id.Role == trust.Watcher || id.Cluster == own.Cluster }

// maySubscribe: our own cluster's, of whom there are enough.
func maySubscribe(own, id trust.ID) bool { return id.Cluster == own.Cluster }

// Pull implements the RPC.
func (s *server) Pull(req *wire.PullRequest, stream grpc.ServerStreamingServer[wire.PullResponse]) error {
	id, err := s.admit(stream.Context(), mayPull)
	if err != nil {
		return err
	}
	leave, err := s.place(id)
	if err != nil {
		return err
	}
	defer leave()
	h, part := s.replica.store.get(req.Cluster)
	if h == nil {
		return status.Errorf(codes.NotFound, "cluster %q is not known here", clip(req.Cluster))
	}
	m := &wire.PullResponse{Head: h.signed, Buckets: part.differing(req.BucketPrefixes)}
	size := 0
	for _, n := range m.Buckets {
		for key, value := range part.buckets[n].each() {
			it := &wire.Item{Key: key, Value: value}
			m.Items = append(m.Items, it)
			if size += itemSize(it); size >= pullChunk {
				if err := stream.Send(m); err != nil {
					return err
				}
				m, size = &wire.PullResponse{}, 0
			}
		}
	}
	if m.Head == nil && len(m.Items) == 0 {
		return nil
	}
	return stream.Send(m)
}

// Subscribe implements the RPC.
func (s *server) Subscribe(req *wire.SubscribeRequest, stream grpc.ServerStreamingServer[wire.StreamMessage]) error {
	if _, err := s.admit(stream.Context(), maySubscribe); err != nil {
		return err
	}
	select {
	case s.streams <- struct{}{}:
		defer func() { <-s.streams }()
	default:
		return status.Error(codes.ResourceExhausted, "too many agents on this watcher")
	}
	r := s.replica
	r.recallFrom(stream.Context())
	r.metrics.streams.Inc()
	defer r.metrics.streams.Dec()
	box := r.feed.open() // before the heads are read, so that none falls between
	defer r.feed.close(box)
	if err := stream.Send(&wire.StreamMessage{Body: &wire.StreamMessage_Viewer{Viewer: r.viewer()}}); err != nil {
		return err
	}
	if !s.waitCurrent(stream.Context()) {
		return status.Error(codes.Unavailable, errStopping.Error())
	}
	for _, cluster := range r.store.heads.buried() { // an agent may have them on its disk
		if err := stream.Send(forgetting(cluster)); err != nil {
			return err
		}
	}
	for _, h := range r.store.heads.all() {
		if err := stream.Send(streamed(&wire.Announcement{Head: h.bare()})); err != nil {
			return err
		}
	}
	news := r.gateways.load()
	if err := sendGateways(stream, news.since(nil)); err != nil {
		return err
	}
	if err := stream.Send(&wire.StreamMessage{Body: &wire.StreamMessage_Synced{Synced: &wire.Synced{}}}); err != nil {
		return err
	}
	return s.relay(stream, box, news)
}

// waitCurrent waits until our table may be taken for the whole; false when
// either side ends first.
func (s *server) waitCurrent(ctx context.Context) bool {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.ending, cancel)()
	return s.replica.waitCurrent(ctx)
}

var errStopping = errors.New("watcher is stopping")

// sendGateways sends what there is to say of gateways, if there is.
func sendGateways(stream grpc.ServerStreamingServer[wire.StreamMessage], m *wire.GatewayStates) error {
	if m == nil {
		return nil
	}
	return stream.Send(&wire.StreamMessage{Body: &wire.StreamMessage_GatewayStates{GatewayStates: m}})
}

// relay sends what comes until either side ends. Gateways were told up to some
// news.
func (s *server) relay(stream grpc.ServerStreamingServer[wire.StreamMessage], box *mailbox, told *gatewayNews) error {
	for {
		select {
		case <-stream.Context().Done():
			return nil
		case <-s.ending.Done():
			return status.Error(codes.Unavailable, errStopping.Error())
		case <-box.ready:
		case <-told.outdated:
			news := s.replica.gateways.load()
			if err := sendGateways(stream, news.since(told)); err != nil {
				return err
			}
			told = news
		}
		for _, m := range box.take() {
			if err := stream.Send(m); err != nil {
				return err
			}
		}
	}
}
