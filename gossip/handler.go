package gossip

// Handler makes sense of what the pool carries. All methods but Digest are
// called on one goroutine of the pool, so they see one event at a time, in the
// order of arrival, and may call back into the Pool. While one is busy,
// messages queue, and beyond the queue's bound they are dropped and counted.
type Handler interface {
	// HandleMessage is given one message and the name of the member that the
	// transport had it from, which need not be its author. The slice is the
	// handler's. The same message may come several times.
	HandleMessage(sender string, msg []byte)

	// Digest is what a push/pull carries of our state, at most MaxDigest
	// octets. It is called on goroutines of memberlist, concurrently, and
	// possibly under its lock: it must neither block nor call into the Pool.
	Digest() []byte

	// HandleDigest is given a peer's Digest.
	HandleDigest(b []byte)

	// PeersChanged says that Members changed, maybe several times.
	PeersChanged()
}

// MaxDigest bounds what a push/pull carries of a Handler's state: 40 octets
// for each of 1,000 clusters fit six times.
const MaxDigest = 256 << 10
