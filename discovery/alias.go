package discovery

import (
	"cmp"
	"math"
	"slices"
)

// claim is a service name's claim to an alias host: one for all clusters that
// export the service with it.
type claim struct {
	key   Key
	since int64 // the oldest export's time, Unix seconds
	own   bool  // our own cluster exports it so
}

// before orders claims: the first has the alias. Our own cluster's comes before
// all others, because others may say of their exports what they like; then the
// oldest export wins (KEP-1645's rule for conflicts), then the name that sorts
// first. So all nodes of one cluster agree.
func (a claim) before(b claim) int {
	if a.own != b.own {
		if a.own {
			return -1
		}
		return +1
	}
	return cmp.Or(cmp.Compare(a.since, b.since), cmp.Compare(a.key, b.key))
}

// claimOf is an entry's claim to a host; ok is false if no candidate names it.
func claimOf(e *Entry, host, owner string) (c claim, ok bool) {
	c = claim{key: e.Key, since: math.MaxInt64}
	for _, o := range e.Candidates {
		if !slices.Contains(o.Service.Aliases, host) {
			continue
		}
		ok = true
		c.own = c.own || o.Cluster == owner
		if o.Service.ExportedAt > 0 { // who does not know comes last
			c.since = min(c.since, o.Service.ExportedAt)
		}
	}
	return c, ok
}

// noteClaims has an entry's claims to some hosts looked at with the commit.
func (c *change) noteClaims(e *Entry, hosts []string) {
	if c.claimants == nil && len(hosts) > 0 { // most services have none
		c.claimants = map[string][]*Entry{}
	}
	for _, host := range hosts {
		c.claimants[host] = append(c.claimants[host], e)
	}
}

// setClaims goes through each host's claims once, however many of them changed:
// a cluster may have all of its services claim the same one.
func (c *change) setClaims() {
	for host, entries := range c.claimants {
		latest := make(map[Key]*Entry, len(entries))
		for _, e := range entries {
			latest[e.Key] = e
		}
		before, known := c.aliases.get(host)
		rest := slices.DeleteFunc(slices.Clone(before), func(o claim) bool { return latest[o.key] != nil })
		mine := make([]claim, 0, len(latest))
		for _, e := range latest {
			if o, ok := claimOf(e, host, c.owner); ok {
				mine = append(mine, o)
			}
		}
		slices.SortFunc(mine, claim.before)
		after := merged(rest, mine)
		switch {
		case len(after) > 0:
			c.aliases.set(host, after)
		case known:
			c.aliases.delete(host)
		}
		switch {
		case !known && len(after) > 0:
			c.countParents(host, +1)
		case known && len(after) == 0:
			c.countParents(host, -1)
		}
	}
}

// merged puts two ordered lists together.
func merged(a, b []claim) []claim {
	switch {
	case len(a) == 0:
		return b
	case len(b) == 0:
		return a
	}
	out := make([]claim, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		if a[0].before(b[0]) < 0 {
			out, a = append(out, a[0]), a[1:]
		} else {
			out, b = append(out, b[0]), b[1:]
		}
	}
	return append(append(out, a...), b...)
}

// Prefer tells the table which cluster is its own: where services of several
// names claim one alias, that cluster's has it.
func (t *Table) Prefer(cluster string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.owner == cluster {
		return
	}
	t.owner = cluster
	c := t.begin(cluster)
	t.aliases.all(func(host string, claims []claim) bool {
		for _, o := range claims {
			if e := t.Lookup(o.key); e != nil {
				c.noteClaims(e, []string{host})
			}
		}
		return true
	})
	c.commit()
}
