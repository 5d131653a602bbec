// Package replica keeps the tables of all watchers and agents equal: heads,
// deltas, pulls, signatures, the stream to agents and their copy on disk.
//
// It knows the records of package discovery and their wire form, but neither
// memberlist nor Kubernetes: messages leave through the Network that its user
// gives it and come in through HandleMessage and HandleDigest; pulls and
// streams are gRPC on connections that package trust has authenticated.
//
// # The walk
//
//	source ─Update─▶ Publisher ─▶ store ─▶ Table          (the cluster's own part)
//	                     └─ head + delta ─▶ Network
//	Network ─▶ HandleMessage ─▶ store.accept ─▶ Table     (another cluster's part)
//	                     │ gap         └─ feed ─▶ Server.Subscribe ─▶ agents
//	                     └▶ puller ─Pull─▶ a peer ─▶ store.adopt
//	watcher ─stream─▶ Subscriber ─▶ store.accept ─▶ Table (in every agent)
//
// What is kept is not always what is answered: the table has what the import
// rules choose of a part (quota.go), and a retired cluster's head outlives its
// part (retire.go).
//
// # Versions
//
// A part is a set of items (key, encoded record). Items lie in 256 buckets by
// their key's hash; a bucket's digest covers its items, and the head's root
// covers the bucket digests. A head is signed by a watcher of its cluster, so
// a part is right if its root is, wherever it came from. Digests are ordered
// lists of SHA-256 sums, not sums that can be added up: those could be forged
// by a relay that finds other items with the same sum.
package replica
