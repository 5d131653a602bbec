package replica

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/isthmus-dns/isthmus/gossip/replica/wire"
	"github.com/isthmus-dns/isthmus/gossip/trust"
)

// A cluster is retired by a head with that mark, without items, that one of its
// own watchers' identities has signed: nobody else can. Whoever takes it drops
// the part, keeps the head (so that older ones stay refused) and passes it on
// like any head. A cluster with another uid may take the name under a higher
// epoch. The same cluster comes back by a head without the mark, above that
// one, that is made on purpose: its watchers don't publish over their own
// retirement.

// retireStep is how far above the last epoch a retirement lies. A watcher of
// the cluster that nobody reaches takes an epoch with each start; all those
// must lie below. maxEpoch leaves room for more retirements than there are
// seconds in a hundred thousand years.
const retireStep = 1 << 20

// ErrRetired is wrapped by the error with which Run ends when our cluster was
// retired.
var ErrRetired = errRetired

// ErrUnknownCluster is wrapped by the error of Retire about a cluster that the
// watcher does not know.
var ErrUnknownCluster = errors.New("cluster is not known")

// Retirement is what Retire is asked for.
type Retirement struct {
	Identity *trust.Identity // a watcher's of the cluster
	Watcher  string          // host:port of any watcher of the clusterset
	Undo     bool            // let the cluster come back
}

// Retired is what Retire found and did.
type Retired struct {
	UID      string
	Epoch    uint64 // of the head that is current now
	Services int    // that the cluster published last
	Already  bool   // there was nothing to do
}

// Look tells what the watcher knows of the identity's cluster, and changes
// nothing.
func (m Retirement) Look(ctx context.Context) (*Retired, error) {
	conn, err := dial(m.Identity, target{addr: m.Watcher})
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	h, err := m.current(ctx, conn)
	if err != nil {
		return nil, err
	}
	return m.report(h), nil
}

// Do signs the head that follows and hands it to the watcher.
func (m Retirement) Do(ctx context.Context) (*Retired, error) {
	conn, err := dial(m.Identity, target{addr: m.Watcher})
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	was, err := m.current(ctx, conn)
	if err != nil {
		return nil, err
	}
	if was.Retired != m.Undo {
		return m.report(was), nil
	}
	next, err := m.successor(was)
	if err != nil {
		return nil, err
	}
	a := &wire.AnnounceRequest{Announcement: &wire.Announcement{Head: next.signed}}
	if _, err := wire.NewReplicaClient(conn).Announce(ctx, a); err != nil {
		return nil, fmt.Errorf("announcement to %s: %w", m.Watcher, plainStatus(err))
	}
	is, err := m.current(ctx, conn)
	if err != nil {
		return nil, err
	}
	if is.Retired == m.Undo {
		return nil, fmt.Errorf("%s holds epoch %d of %s: somebody publishes above it; try again", m.Watcher, is.Epoch, is.Cluster)
	}
	done := m.report(was)
	done.Epoch, done.Already = is.Epoch, false
	return done, nil
}

// successor is the head that retires a cluster, or ends that.
func (m Retirement) successor(was *head) (*head, error) {
	w := &wire.Head{
		Clusterset: was.Clusterset, Cluster: was.Cluster, Uid: was.Uid, Epoch: was.Epoch + retireStep, Seq: 1,
		Root: emptyPart.root[:], Retired: !m.Undo,
	}
	if m.Undo {
		// Under the same epoch: a watcher of the cluster that has heard of the
		// retirement only takes the epoch above, and must not meet this one.
		w.Epoch, w.Seq = was.Epoch, was.Seq+1
	}
	if w.Epoch > maxEpoch {
		return nil, fmt.Errorf("epoch %d leaves no room for another one", was.Epoch)
	}
	return sign(m.Identity, w)
}

func (m Retirement) report(h *head) *Retired {
	return &Retired{UID: h.Uid, Epoch: h.Epoch, Services: max(int(h.Items)-1, 0), Already: h.Retired != m.Undo}
}

// current pulls the cluster's head, and none of its records.
func (m Retirement) current(ctx context.Context, conn grpc.ClientConnInterface) (*head, error) {
	id := m.Identity.ID()
	first, err := firstHead(ctx, conn, id.Cluster)
	if status.Code(err) == codes.NotFound {
		return nil, fmt.Errorf("watcher %s: %w there: %s", m.Watcher, ErrUnknownCluster, id.Cluster)
	}
	if err != nil {
		return nil, fmt.Errorf("watcher %s: %w", m.Watcher, plainStatus(err))
	}
	w := &wire.Head{}
	if err := unmarshalHead(first, w); err != nil {
		return nil, err
	}
	if w.Clusterset != id.Clusterset || w.Cluster != id.Cluster {
		return nil, fmt.Errorf("watcher %s: answer is about %s of %s: %w", m.Watcher, clip(w.Cluster), clip(w.Clusterset), errMalformed)
	}
	return verify(m.Identity, w, first)
}

// plainStatus takes gRPC's framing off an error.
func plainStatus(err error) error {
	s, ok := status.FromError(err)
	if !ok {
		return err
	}
	text := s.Message()
	if _, cause, dialing := strings.Cut(text, `"transport: Error while dialing: `); dialing {
		text = strings.TrimSuffix(cause, `"`)
	}
	return errors.New(text)
}

// Announce implements the RPC.
func (s *server) Announce(ctx context.Context, req *wire.AnnounceRequest) (*wire.AnnounceResponse, error) {
	id, err := s.admit(ctx, mayAnnounce)
	if err != nil {
		return nil, err
	}
	a := req.GetAnnouncement()
	if a == nil || proto.Size(a) > maxAnnouncement {
		return nil, status.Error(codes.InvalidArgument, "announcement is missing or too large")
	}
	leave, err := s.place(id)
	if err != nil {
		return nil, err
	}
	defer leave()
	msg, err := message(a)
	result := old
	if err == nil {
		result, err = s.replica.take("", a, msg)
	}
	if err != nil {
		return nil, status.Error(codes.FailedPrecondition, err.Error())
	}
	if result == applied { // who made it is no member, so we are the first to know
		s.replica.push(a)
	}
	return &wire.AnnounceResponse{}, nil
}

// mayAnnounce: the signature decides what is taken, but agents have nothing to
// say.
func mayAnnounce(_, id trust.ID) bool { return id.Role == trust.Watcher }

// retiredError is not nil if we are the cluster that was retired.
func (r *Replica) retiredError() error {
	h := r.store.heads.get(r.cluster)
	if h == nil || !h.Retired || h.Uid != r.store.owner() {
		return nil
	}
	return fmt.Errorf("cluster %s was retired (epoch %d) and publishes no more; to bring it back, run `isthmus retire %s --undo`: %w",
		r.cluster, h.Epoch, r.cluster, ErrRetired)
}

// holdsOwn tells whether our own cluster's part is there.
func (r *Replica) holdsOwn() bool {
	h := r.store.heads.get(r.cluster)
	return h != nil && !h.Retired
}
