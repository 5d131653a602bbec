package discovery

import (
	"slices"
	"strings"
)

// change is one writer's pass over the table's indexes on behalf of one
// cluster. Readers see its effects from commit on, a key at a time.
type change struct {
	cluster    string
	owner      string // the table's own cluster
	services   *batch[Key, *Entry]
	aliases    *batch[string, []claim]
	namespaces *batch[string, int]
	parents    *batch[string, int]
	grown      int // services that came, less those that went
	// claimants are entries whose claims to a host are to be looked at, the
	// latest of each key last.
	claimants map[string][]*Entry
}

// AliasParents is how many of the domains above an alias exist because of it:
// as deep as the deepest name of a service lies below its zone
// (_port._proto.cluster.service.namespace). It bounds what an alias of 127
// labels costs. Who answers aliases leaves out those that lie deeper in a zone,
// for a domain above them would be denied and they with it (RFC 8020).
const AliasParents = 5

func (t *Table) begin(cluster string) *change {
	return &change{
		cluster:    cluster,
		owner:      t.owner,
		services:   t.services.begin(),
		aliases:    t.aliases.begin(),
		namespaces: t.namespaces.begin(),
		parents:    t.parents.begin(),
	}
}

// commit makes the changes seen: first what is new, then what refers to it,
// and last what nothing refers to any more. An alias that moves from a service
// that goes to one that comes always names one of the two.
func (c *change) commit() {
	c.setClaims()
	c.services.commitSet()
	c.aliases.commit()
	c.namespaces.commit()
	c.parents.commit()
	c.services.commitDeleted()
}

// put sets the cluster's candidate.
func (c *change) put(s *Service) {
	key := s.Key()
	entry, known := c.services.get(key)
	if !known {
		count(c.namespaces, s.Namespace, +1)
		entry = &Entry{Key: key}
	}
	key = entry.Key // one string for all clusters
	i, found := slices.BinarySearchFunc(entry.Candidates, c.cluster, byCluster)
	var old *Service
	// Of the exact size, unlike what append makes: most entries are for long.
	var candidates []Candidate
	if found {
		old = entry.Candidates[i].Service
		candidates = slices.Clone(entry.Candidates)
		candidates[i].Service = s
	} else {
		candidates = make([]Candidate, len(entry.Candidates)+1)
		copy(candidates, entry.Candidates[:i])
		candidates[i] = Candidate{Cluster: c.cluster, Service: s}
		copy(candidates[i+1:], entry.Candidates[i:])
		c.grown++
	}
	next := &Entry{Key: key, Candidates: candidates}
	c.services.set(key, next)
	if old != nil {
		c.noteClaims(next, old.Aliases)
	}
	c.noteClaims(next, s.Aliases)
}

// remove takes the cluster's candidate away, if there is one, and the entry
// with its last one.
func (c *change) remove(key Key) {
	entry, known := c.services.get(key)
	if !known {
		return
	}
	old := entry.Candidate(c.cluster)
	if old == nil {
		return
	}
	c.grown--
	candidates := slices.DeleteFunc(slices.Clone(entry.Candidates), func(o Candidate) bool { return o.Cluster == c.cluster })
	next := &Entry{Key: entry.Key, Candidates: candidates}
	if len(candidates) == 0 {
		c.services.delete(key)
		count(c.namespaces, old.Namespace, -1)
	} else {
		c.services.set(key, next)
	}
	c.noteClaims(next, old.Aliases)
}

// countParents notes that an alias came or went in the domains above it.
func (c *change) countParents(host string, by int) {
	for range AliasParents {
		_, parent, found := strings.Cut(host, ".")
		if !found {
			return
		}
		count(c.parents, parent, by)
		host = parent
	}
}

// count adds to the number of what is below a name; a name with nothing below
// it is not kept.
func count(b *batch[string, int], name string, by int) {
	n, _ := b.get(name)
	if n+by == 0 {
		b.delete(name)
	} else {
		b.set(name, n+by)
	}
}

func byCluster(c Candidate, name string) int { return strings.Compare(c.Cluster, name) }
