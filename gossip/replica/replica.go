package replica

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
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

// Peer is another watcher of the clusterset.
type Peer struct {
	Name    string // "<watcher>.<cluster>"
	Cluster string
	Addr    string // host:port of its one TLS port
}

// Network is the gossip layer as the replica needs it. Its methods must not
// block and may be called at any time, also before the pool runs.
type Network interface {
	// Broadcast queues a message for gossip to all; a later message with the
	// same key takes the place of one that is still queued.
	Broadcast(key string, msg []byte)
	// Send sends a message to one member, best effort.
	Send(member string, msg []byte) error
	// Peers are the members of the pool that seem alive, without ourselves.
	Peers() []Peer
}

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
	Dial       Dialer
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// Dialer connects to a peer. It must give up when ctx ends.
type Dialer func(ctx context.Context, to Peer) (net.Conn, error)

// Replica is a watcher's copy of the clusterset's table: it takes part in
// keeping all copies equal, and serves its own to peers and agents.
type Replica struct {
	config  Config
	cluster string
	log     *slog.Logger
	metrics *metrics
	warner  *warner
	store   *store
	feed    *feed
	puller  *puller
	network atomic.Pointer[Network]
	view    atomic.Pointer[View]

	overtaken chan struct{} // capacity 1: a peer has brought a newer version of our own part

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
		feed: newFeed(), taken: make(chan struct{}), heard: make(chan struct{}), settled: make(chan struct{}), whole: make(chan struct{}), haveOwn: make(chan struct{}),
		overtaken: make(chan struct{}, 1), warner: newWarner(c.Logger),
	}
	r.metrics = newMetrics(c.Registerer, c.Table)
	r.store = newStore(c.Identity, c.Identity.ID().Clusterset, c.Limits, c.Table, r.refuse)
	r.store.omit, r.store.log = r.omit, c.Logger
	if err := c.Import.Validate(); err != nil {
		return nil, fmt.Errorf("replica: import: %w", err)
	}
	r.store.setImport(&c.Import)
	r.puller = newPuller(r)
	r.view.Store(&c.Viewer)
	return r, nil
}

// Attach gives the replica the network to speak through. Before it the replica
// is alone.
func (r *Replica) Attach(n Network) { r.network.Store(&n) }

// ErrNameTaken is wrapped by the error with which Run ends when another
// cluster, with another uid, publishes under our name.
var ErrNameTaken = errors.New("cluster name is taken")

// Run pulls what is missing until ctx ends, or until our cluster's name turns
// out to belong to another cluster.
func (r *Replica) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return r.puller.run(ctx) })
	g.Go(func() error { r.settle(ctx); return nil })
	g.Go(func() error { return r.keep(ctx) })
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

// HandleMessage takes a message that the gossip layer received. It may be
// called from several goroutines and does not wait for the network.
func (r *Replica) HandleMessage(msg []byte) {
	if len(msg) > maxAnnouncement {
		r.refuse("", errMalformed)
		return
	}
	w := &wire.Message{}
	if err := proto.Unmarshal(msg, w); err != nil {
		r.refuse("", errMalformed)
		return
	}
	if a := w.GetAnnouncement(); a != nil {
		_ = r.take(a, msg) // it has counted and logged what it refused
	}
}

// take applies an announcement, and forwards it if it was news: memberlist
// does not forward user messages, so a message reaches those that its sender
// did not reach only so.
func (r *Replica) take(a *wire.Announcement, msg []byte) error {
	h, result, err := r.store.accept(a)
	switch {
	case errors.Is(err, trust.ErrUnknownKey):
		// The chain comes with a pull. The claim is unverified, but all it
		// can do is make us ask.
		claim := &wire.Head{}
		if unmarshalHead(a.GetHead(), claim) == nil && claim.Clusterset == r.store.clusterset {
			r.puller.wantClaimed(claim.Cluster, discovery.Version{Epoch: claim.Epoch, Seq: claim.Seq}, "")
		}
		return err
	case err != nil:
		r.refused(a, err)
		return err
	}
	r.metrics.announcements.WithLabelValues(result.String()).Inc()
	switch result {
	case old:
		return nil
	case gap:
		if r.puller.want(h.Cluster, h.version()) {
			r.forward(h, msg)
		}
		return nil
	}
	r.learned(h, a)
	r.forward(h, msg)
	return nil
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

// forward hands news on: the message as it came, with whatever a later version
// has put in it, or where gossip would not carry that the head alone.
func (r *Replica) forward(h *head, msg []byte) {
	if len(msg) > maxMessage {
		var err error
		if msg, err = message(&wire.Announcement{Head: h.bare()}); err != nil {
			r.log.Error("announcement not encoded", "error", err)
			return
		}
	}
	r.broadcast(h.Cluster, msg)
}

func (r *Replica) broadcast(cluster string, msg []byte) {
	if n := r.network.Load(); n != nil {
		(*n).Broadcast(cluster, msg)
	}
}

func message(a *wire.Announcement) ([]byte, error) {
	return proto.Marshal(&wire.Message{Body: &wire.Message_Announcement{Announcement: a}})
}

// PeersChanged is called by the gossip layer when members come or go. Who came
// may have what others could not give.
func (r *Replica) PeersChanged() { r.puller.retry() }

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
	r.warner.warnOnce("record refused", clip(cluster), err)
}

// omit counts what import rules leave out.
func (r *Replica) omit(err error) {
	r.metrics.refused.WithLabelValues(refusalReason(err)).Inc()
}

func (r *Replica) peers() []Peer {
	n := r.network.Load()
	if n == nil {
		return nil
	}
	return (*n).Peers()
}

// direct picks the peers that a change is sent to without waiting for gossip.
func (r *Replica) direct() []Peer {
	peers := r.peers()
	if len(peers) <= directPushes {
		return peers
	}
	rand.Shuffle(len(peers), func(i, j int) { peers[i], peers[j] = peers[j], peers[i] })
	return peers[:someDirect]
}
