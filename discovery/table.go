package discovery

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// Table is the endpoint table of a clusterset: one part per cluster, looked up
// by service name. Readers never wait; writers wait for each other. A change
// costs in proportion to what changed. All methods are safe for concurrent
// use, and everything returned is immutable.
type Table struct {
	services   *index[Key, *Entry]
	aliases    *index[string, []claim] // in order; the first has it
	namespaces *index[string, int]     // number of entries in it
	parents    *index[string, int]     // number of aliases below a domain
	clusters   atomic.Pointer[[]ClusterState]
	records    atomic.Pointer[[]*Cluster]
	loaded     atomic.Bool

	mu    sync.Mutex
	sizes map[string]int // services of each cluster; guarded by mu
	owner string         // our own cluster, "" for none; guarded by mu
}

// ClusterState is a cluster's record and the version of its part.
type ClusterState struct {
	Cluster *Cluster
	Version Version
	// Services is the number of services in the part.
	Services int
}

// NewTable makes an empty table that is not loaded yet.
func NewTable() *Table {
	t := &Table{
		services:   newIndex[Key, *Entry](),
		aliases:    newIndex[string, []claim](),
		namespaces: newIndex[string, int](),
		parents:    newIndex[string, int](),
		sizes:      map[string]int{},
	}
	t.clusters.Store(&[]ClusterState{})
	t.records.Store(&[]*Cluster{})
	return t
}

// Lookup returns the entry of a name, nil if no cluster has it. It neither
// waits nor allocates.
func (t *Table) Lookup(key Key) *Entry {
	e, _ := t.services.get(key)
	return e
}

// Alias returns the entry that an alias host (lower case, no trailing dot)
// stands for, nil if none. When services of several names claim one alias, our
// own cluster's has it (see Prefer), else the one that was exported first, else
// the name that sorts first.
func (t *Table) Alias(host string) *Entry {
	claims, ok := t.aliases.get(host)
	if !ok {
		return nil
	}
	return t.Lookup(claims[0].key)
}

// Namespace tells whether any cluster has a service in the namespace.
func (t *Table) Namespace(namespace string) bool {
	_, ok := t.namespaces.get(namespace)
	return ok
}

// AliasBelow tells whether an alias lies below a domain (lower case, no
// trailing dot), at most five labels down: "shop.example" is there because of
// "www.shop.example", even if nothing has that name.
func (t *Table) AliasBelow(domain string) bool {
	_, ok := t.parents.get(domain)
	return ok
}

// Clusters returns all clusters by name.
func (t *Table) Clusters() []ClusterState { return *t.clusters.Load() }

// Records returns all clusters' own records by name. The pointer is the same
// until a cluster comes, goes or changes its record, so that a reader can tell
// by it whether what it derived from them is still right.
func (t *Table) Records() *[]*Cluster { return t.records.Load() }

// Walk calls f for each entry, in no order, until f returns false. Entries
// that change meanwhile may be seen in either state.
func (t *Table) Walk(f func(*Entry) bool) {
	t.services.all(func(_ Key, e *Entry) bool { return f(e) })
}

// Loaded tells whether the table ever held a state to answer from. Before
// that, absence of a name means nothing.
func (t *Table) Loaded() bool { return t.loaded.Load() }

// SetLoaded says that the table now holds a state to answer from, even if an
// empty one.
func (t *Table) SetLoaded() { t.loaded.Store(true) }

// Apply replaces or changes one cluster's part, and makes the cluster if it is
// new. The caller has validated what it brings and gives it away.
func (t *Table) Apply(cluster string, u Update, v Version) {
	t.mu.Lock()
	defer t.mu.Unlock()
	removed := u.Removed
	if u.Whole {
		removed = t.missingLocked(cluster, u.Services)
	}
	c := t.begin(cluster)
	for _, key := range removed {
		c.remove(key)
	}
	for _, s := range u.Services {
		c.put(s)
	}
	c.commit()
	t.sizes[cluster] += c.grown
	t.setClusterLocked(cluster, u.Cluster, v, t.sizes[cluster])
}

// Drop removes a cluster and its part.
func (t *Table) Drop(cluster string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.begin(cluster)
	for _, key := range t.missingLocked(cluster, nil) {
		c.remove(key)
	}
	c.commit()
	delete(t.sizes, cluster)
	states := slices.Clone(t.Clusters())
	states = slices.DeleteFunc(states, func(s ClusterState) bool { return s.Cluster.Name == cluster })
	t.storeClustersLocked(states, true)
}

func (t *Table) setClusterLocked(name string, record *Cluster, v Version, services int) {
	states := slices.Clone(t.Clusters())
	i, found := slices.BinarySearchFunc(states, name, func(s ClusterState, n string) int {
		return strings.Compare(s.Cluster.Name, n)
	})
	state := ClusterState{Cluster: record, Version: v, Services: services}
	switch {
	case found && record == nil:
		state.Cluster = states[i].Cluster
	case record == nil:
		state.Cluster = &Cluster{Name: name}
	}
	if found {
		states[i] = state
	} else {
		states = slices.Insert(states, i, state)
	}
	t.storeClustersLocked(states, record != nil || !found)
}

func (t *Table) storeClustersLocked(states []ClusterState, recordsChanged bool) {
	t.clusters.Store(&states)
	if !recordsChanged {
		return
	}
	records := make([]*Cluster, len(states))
	for i, s := range states {
		records[i] = s.Cluster
	}
	t.records.Store(&records)
}

// missingLocked lists the keys of a cluster's part that a complete set lacks.
// It walks the whole table, for the rare case of a cluster that goes or is
// written anew: an index of each part would take 5 MiB for 100,000 services.
func (t *Table) missingLocked(cluster string, whole []*Service) []Key {
	if t.sizes[cluster] == 0 {
		return nil
	}
	keep := make(map[Key]struct{}, len(whole))
	for _, s := range whole {
		keep[s.Key()] = struct{}{}
	}
	var gone []Key
	t.services.all(func(key Key, e *Entry) bool {
		if _, kept := keep[key]; !kept && e.Candidate(cluster) != nil {
			gone = append(gone, key)
		}
		return true
	})
	return gone
}
