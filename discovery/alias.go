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

// setClaim puts an entry's claim to a host among the others, or takes it away
// when there is none any more.
func (c *change) setClaim(host string, claims []claim, e *Entry) {
	mine, ok := claimOf(e, host, c.owner)
	claims = slices.DeleteFunc(slices.Clone(claims), func(o claim) bool { return o.key == e.Key })
	if ok {
		i, _ := slices.BinarySearchFunc(claims, mine, claim.before)
		claims = slices.Insert(claims, i, mine)
	}
	if len(claims) == 0 {
		c.aliases.delete(host)
		return
	}
	c.aliases.set(host, claims)
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
				current, _ := c.aliases.get(host)
				c.setClaim(host, current, e)
			}
		}
		return true
	})
	c.commit()
}
