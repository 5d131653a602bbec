// Package history judges what the nodes of a clusterset have shown: whether a
// version or a value ever went back, whether something that was removed came
// back, whether two nodes took different contents for one version, and whether
// something was lost.
//
// It is pure: it starts nothing and asks nobody. A history holds
//
//   - commits: each version of a cluster's part that a node made current, with
//     the digests of the records that changed, in the node's order. They come
//     from the nodes' own logs at the debug level ([ReadLog]), so none is missed;
//   - looks: what was asked of a node from outside, by DNS or over its HTTP
//     server, and what it answered;
//   - writes: what was asked of an API server or a folder of manifests, which
//     is the truth;
//   - restores: that a cluster's API server was put back to an old backup, which
//     is a new truth;
//   - disks: what an agent's copy on disk held when the agent started.
//
// # What whoever writes must keep to
//
// A service's values grow with each write, no content of a record comes twice,
// and no name is used again after its removal. Only then does a content that
// returns prove that something is wrong.
//
// # Lives
//
// A process that is killed and started again has a new life. A watcher keeps no
// table on disk, so each of its lives starts from nothing, and rules about what
// a node shows hold within a life. An agent starts with what it has on disk,
// which is up to 10 s behind what it had shown before: going back to that is
// allowed (its answers are marked stale until a watcher is reached), going
// below it is not.
package history
