// Package manifest makes a cluster's part of the table from a directory of
// Kubernetes manifests, without an API server: Services, EndpointSlices, Nodes
// and ServiceExports in .yaml, .yml and .json files, watched with fsnotify.
//
// The way of a change: file → documents with lines (document.go, convert.go) →
// strictly decoded objects (object.go) → the inventory, which knows the file
// of each object and what an object concerns (inventory.go) → records of the
// Services concerned, by discovery/export (part.go) → [discovery.Update].
//
// It does not know who takes the updates, and what it is given of the
// cluster's configuration are values (Config). Files are foreign text: size,
// number, depth and expansion are bounded before and while they are parsed. A
// file that can't be read or parsed is reported by name and line, and what it
// said last stays in force, also over a restart (kept.go).
package manifest
