package replica

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/gossip/replica/wire"
)

// TestLargePartMeetsOthers: a large part comes into the table in steps. Whatever
// happens between two of them, the table shows what is held in the end.
func TestLargePartMeetsOthers(t *testing.T) {
	const services = 4*atOnce + 7
	many := func(ready uint32, n int) (list []*discovery.Service) {
		for i := range n {
			list = append(list, service(fmt.Sprint("service-", i), ready))
		}
		return list
	}
	first := owns(t, "east", &wire.Head{Epoch: 1, Seq: 1}, many(1, services/2)...)
	large := owns(t, "east", &wire.Head{Epoch: 1, Seq: 2}, many(2, services)...)
	newer := owns(t, "east", &wire.Head{Epoch: 1, Seq: 3}, many(3, services/3)...)
	events := map[string]func(r *Replica){
		"nothing": func(*Replica) {},
		"a newer part": func(r *Replica) {
			_, base := r.store.get("east")
			if base == nil {
				base = emptyPart
			}
			_, _, _ = r.store.adopt("east", newer.answer(), base) // the older one may be first, and is then no base
		},
		"forgetting": func(r *Replica) { r.store.forget("east") },
		"another quota": func(r *Replica) {
			r.store.setImport(&Import{Rules: []ImportRule{{Clusters: []string{"east"}, Services: 10}}})
		},
		"no import": func(r *Replica) { r.store.setImport(&Import{Deny: []string{"east"}}) },
	}
	for what, event := range events {
		for _, known := range []bool{false, true} {
			t.Run(fmt.Sprint(what, ", known before: ", known), func(t *testing.T) {
				for range 2 {
					r := alone(t, "west")
					base := emptyPart
					if known {
						bring(t, r, first.head, first.content)
						_, base = r.store.get("east")
					}
					done := make(chan struct{})
					go func() {
						defer close(done)
						for shows(r.config.Table, 2) == 0 { // no step has been made
							runtime.Gosched()
						}
						event(r)
					}()
					_, _, err := r.store.adopt("east", large.answer(), base)
					<-done
					require.NoError(t, err)
					agrees(t, r)
				}
			})
		}
	}
}

// shows counts some of the services that a table shows with so many ready.
func shows(table *discovery.Table, want int) int {
	n := 0
	for i := 0; i < 4*atOnce; i += atOnce / 10 {
		if ready(table, fmt.Sprint("service-", i), "east") == want {
			n++
		}
	}
	return n
}

// agrees wants the table to be what the store's parts make of an empty one.
func agrees(t *testing.T, r *Replica) {
	t.Helper()
	fresh := discovery.NewTable()
	fresh.Prefer("west")
	for cluster, have := range r.store.clusters {
		require.True(t, r.store.accepts(cluster), cluster)
		fresh.Apply(cluster, r.store.whole(cluster, have.part), have.head.version())
	}
	require.Equal(t, shownOf(fresh, "east"), shownOf(r.config.Table, "east"))
	require.Equal(t, fresh.Clusters(), r.config.Table.Clusters())
}
