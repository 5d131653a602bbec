package replica

import "time"

// Limits bound what one cluster may make others hold. Beyond one, that
// cluster's news is refused and counted; other clusters are untouched.
type Limits struct {
	RecordBytes int // one item's value
	Items       int // items of a part
	PartBytes   int // keys and values of a part
	Clusters    int // clusters of the clusterset
	Aliases     int // alias hosts of a part that are answered
}

// DefaultLimits are DESIGN section 3's. 200,000 services of a usual size take
// 40 MiB, so PartBytes is reached only by a part that is broken or hostile. An
// alias host takes some 150 octets of a table beside its record's: a part full
// of them would take a gigabyte of every watcher and agent.
func DefaultLimits() Limits {
	return Limits{RecordBytes: 16 << 10, Items: 200_000, PartBytes: 64 << 20, Clusters: 1000, Aliases: 100_000}
}

const (
	// coalesce is how long changes that follow one another are gathered. The
	// first change after a quiet time does not wait.
	coalesce = 100 * time.Millisecond
	// urgentPause is the least time between versions whose changes must not
	// wait. A thousand services that lose their last endpoint one after another
	// within a second make a hundred signed messages to each peer, not a
	// thousand; a peer takes 500 a second of a cluster.
	urgentPause = 10 * time.Millisecond
	// heartbeat is how often a head is announced without a change; a cluster
	// is called silent after three of them.
	heartbeat = 10 * time.Second
	// maxKey bounds an item's key: "s/" and two labels, and room for kinds to
	// come.
	maxKey = 256
	// maxMessage bounds an announcement that is sent as one packet. A change of
	// more than some twenty services is pulled, by those who lack it, rather
	// than sent to everybody about twice.
	maxMessage = 7 << 10
	// maxAnnouncement bounds one that is decoded, from any source.
	maxAnnouncement = 256 << 10
	// maxEpoch leaves room to count on: a head beyond it would be one that
	// nothing can follow.
	maxEpoch = 1 << 62
	// maxHead bounds an encoded head: three names, a UID and numbers.
	maxHead = 1 << 10
	// pullTimeout bounds one pull. 200,000 records at 10 MB/s take 10 s.
	pullTimeout = 60 * time.Second
	// pullChunk is about how large a PullResponse is: small enough that one comes
	// over a poor link before the pull counts as stalled.
	pullChunk = 32 << 10
	// maxRPC bounds one gRPC message either way.
	maxRPC = 1 << 20
)
