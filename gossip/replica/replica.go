package replica

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/gossip/replica/wire"
	"github.com/isthmus-dns/isthmus/gossip/trust"
)

// Config is what a watcher's replica needs. Identity, Table and Member are
// required.
type Config struct {
	Member   string           // our member name, "<watcher>.<cluster>"
	Identity *trust.Identity  // says clusterset and cluster
	Viewer   View             // what our agents are told of the cluster
	Table    *discovery.Table // written by the replica only
	// ExpectPeers says that there are seeds to join: before it publishes, the
	// replica waits a little for what peers still hold of its own cluster.
	ExpectPeers bool
	Limits      Limits // zero: DefaultLimits
	// Import is what is accepted of other clusters, here and by our agents.
	Import Import
	// Forget is how long another cluster may be silent before it is dropped.
	// Zero: DefaultForget.
	Forget time.Duration
	// Dial connects to a peer's port to pull from it, with whatever handshake
	// is due. Nil: TCP, and the identity's TLS.
	Dial Dialer
	// Shared may be given to all replicas of a process, to save memory.
	Shared     *Shared
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// Dialer connects to a peer. It must give up when ctx ends.
type Dialer func(ctx context.Context, to Peer) (net.Conn, error)

// Replica is a watcher's copy of the clusterset's table: it takes part in
// keeping all copies equal, and serves its own to peers and agents.
type Replica struct {
	config   Config
	cluster  string
	log      *slog.Logger
	metrics  *metrics
	warner   *warner
	store    *store
	feed     *feed
	puller   *puller
	resumer  *resumer
	conns    *conns
	network  atomic.Pointer[Network]
	view     atomic.Pointer[View]
	gateways *gatewayBoard
	moved    chan struct{} // capacity 1: members came or went
	again    chan struct{} // capacity 1: what siblings said and we did not listen to is wanted now

	random    func(n int) int      // rand.IntN; a test's own
	overtaken chan struct{}        // capacity 1: a peer or an agent has brought a newer version of our own part
	recalled  atomic.Pointer[head] // the newest of our own heads that an agent has brought; nil: none

	claimed   atomic.Bool           // our source has told the uid of the cluster
	contested atomic.Pointer[error] // somebody else uses our name
	heard     chan struct{}         // closed when the first digest of a peer has come
	heardOnce sync.Once
	settled   chan struct{} // closed when Run has heard what peers know, or waited long enough to publish
	whole     chan struct{} // closed when what peers knew has been pulled, or waited for long enough
	haveOwn   chan struct{} // closed when our own cluster's part has come for the first time
	ownOnce   sync.Once

	taken     chan struct{} // closed when our name turns out to be another cluster's
	takenOnce sync.Once
	takenErr  error // set before taken is closed
}

// New makes a replica that holds nothing yet and does nothing before Run.
func New(c Config) (*Replica, error) {
	if c.Identity == nil || c.Table == nil || c.Member == "" {
		return nil, errors.New("replica: identity, table and member name are required")
	}
	if c.Limits == (Limits{}) {
		c.Limits = DefaultLimits()
	}
	if c.Forget == 0 {
		c.Forget = DefaultForget
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	r := &Replica{
		config: c, cluster: c.Identity.ID().Cluster, log: c.Logger,
		random: rand.IntN,
		feed:   newFeed(), taken: make(chan struct{}), heard: make(chan struct{}), settled: make(chan struct{}), whole: make(chan struct{}), haveOwn: make(chan struct{}),
		overtaken: make(chan struct{}, 1), warner: newWarner(c.Logger),
	}
	r.metrics = newMetrics(c.Registerer, c.Table)
	r.store = newStore(c.Identity, c.Identity.ID().Clusterset, c.Limits, c.Table, r.refuse)
	r.store.log, r.store.shared, r.store.omit = r.log, c.Shared, r.omit
	if err := c.Import.Validate(); err != nil {
		return nil, fmt.Errorf("replica: import: %w", err)
	}
	r.store.setImport(&c.Import)
	r.puller = newPuller(r)
	r.resumer, r.conns = newResumer(r.store), newConns(r.dial)
	r.view.Store(&c.Viewer)
	r.gateways, r.moved, r.again = newGatewayBoard(c.Limits), make(chan struct{}, 1), make(chan struct{}, 1)
	return r, nil
}

// ErrNameTaken is wrapped by the error with which Run ends when another
// cluster, with another uid, publishes under our name.
var ErrNameTaken = errors.New("cluster name is taken")

// Run pulls what is missing until ctx ends, or until our cluster's name turns
// out to belong to another cluster.
func (r *Replica) Run(ctx context.Context) error {
	defer r.conns.close()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return r.puller.run(ctx) })
	g.Go(func() error { r.settle(ctx); return nil })
	g.Go(func() error { return r.keep(ctx) })
	g.Go(func() error { r.sendDigests(ctx); return nil })
	g.Go(func() error {
		select {
		case <-ctx.Done():
			return nil
		case <-r.taken:
			return r.takenErr
		}
	})
	return g.Wait()
}

// HandleMessage takes a message that the gossip layer received from a member,
// its sender but maybe not its author. It may be called from several goroutines and does not wait for the network.
func (r *Replica) HandleMessage(sender string, msg []byte) {
	if len(msg) > maxAnnouncement {
		r.refuse("", errMalformed)
		return
	}
	w := &wire.Message{}
	if err := proto.Unmarshal(msg, w); err != nil {
		r.refuse("", errMalformed)
		return
	}
	switch body := w.Body.(type) {
	case *wire.Message_Announcement:
		_, _ = r.take(sender, body.Announcement, msg) // it has counted and logged what it refused
	case *wire.Message_Digests:
		r.compare(sender, body.Digests)
	default: // of a later version; it knows that we don't know it
		r.metrics.announcements.WithLabelValues(unknownOutcome).Inc()
	}
}

// ofCluster is the member if it is a watcher of the cluster, else "".
func ofCluster(member, cluster string) string {
	if _, of, _ := strings.Cut(member, "."); of == cluster {
		return member
	}
	return ""
}

// take applies an announcement, and sends it on if it was news.
func (r *Replica) take(sender string, a *wire.Announcement, msg []byte) (outcome, error) {
	h, result, err := r.store.accept(a)
	switch {
	case errors.Is(err, trust.ErrUnknownKey):
		// The chain comes with a pull. The claim is unverified, but all it
		// can do is make us ask.
		claim := &wire.Head{}
		if unmarshalHead(a.GetHead(), claim) == nil && claim.Clusterset == r.store.clusterset {
			r.puller.wantClaimed(claim.Cluster, discovery.Version{Epoch: claim.Epoch, Seq: claim.Seq}, sender)
		}
		return old, err
	case err != nil:
		r.refused(a, err)
		return old, err
	}
	r.metrics.announcements.WithLabelValues(result.String()).Inc()
	if result != old {
		r.store.heads.hear(h.Cluster)
	}
	switch result {
	case old:
		return result, nil
	case gap:
		if r.puller.wantFrom(h.Cluster, h.version(), ofCluster(sender, h.Cluster)) {
			r.relay(h, sender, msg)
		}
		return result, nil
	}
	r.learned(h, a)
	r.relay(h, sender, msg)
	return result, nil
}

// learned tells agents and our publisher what the store has taken from a peer.
func (r *Replica) learned(h *head, a *wire.Announcement) {
	r.announce(h, a)
	if h.Cluster != r.cluster {
		return
	}
	select {
	case r.overtaken <- struct{}{}:
	default:
	}
}

// announce tells agents, and those who wait for our own part.
func (r *Replica) announce(h *head, a *wire.Announcement) {
	r.feed.send(h.Cluster, a)
	switch {
	case h.Cluster != r.cluster:
	case h.Retired:
		r.judgeName()
	default:
		r.ownOnce.Do(func() { close(r.haveOwn) })
	}
}

// Heard is when a cluster was last heard of: when its head, with a later
// heartbeat or version, came as a message or was published here, by this
// machine's monotonic clock. What was pulled doesn't count: nobody can say how
// old it is. So it is false for some seconds after the start, and goes on being
// so for a cluster that is silent.
func (r *Replica) Heard(cluster string) (time.Time, bool) { return r.store.heads.lastHeard(cluster) }

// PeersChanged is called by the gossip layer when members come or go. Who came
// may have what others could not give.
func (r *Replica) PeersChanged() {
	r.conns.retain(r.peers())
	r.puller.retry()
	select {
	case r.moved <- struct{}{}:
	default:
	}
}

// refused handles an announcement that was not taken.
func (r *Replica) refused(a *wire.Announcement, err error) {
	claim := &wire.Head{}
	_ = unmarshalHead(a.GetHead(), claim) // for the log, and to know our own name
	r.refuse(claim.Cluster, err)
	if errors.Is(err, errCloned) && claim.Cluster == r.cluster {
		r.contest(err)
	}
}

// refuse counts and logs what was not taken from a cluster.
func (r *Replica) refuse(cluster string, err error) {
	r.metrics.refused.WithLabelValues(refusalReason(err)).Inc()
	r.warner.refused(clip(cluster), err)
}

// omit counts what import rules leave out.
func (r *Replica) omit(err error) {
	r.metrics.refused.WithLabelValues(refusalReason(err)).Inc()
}
