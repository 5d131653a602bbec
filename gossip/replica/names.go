package replica

import (
	"fmt"
)

// Who may have a cluster's name: the first keeps it, and the second is refused
// by everybody who knows the first. A watcher learns that it is the second
// from its peers, when it has settled: they hold a part under its name with
// another uid, and none with its own. A watcher whose own part is held
// somewhere is not the second, whatever it hears: it refuses the other's heads
// like everybody else, counts and logs them.

// claim says under which uid our source knows the cluster.
func (r *Replica) claim(uid string) {
	if !r.claimed.CompareAndSwap(false, true) {
		return // a cluster does not change its uid
	}
	if err := r.store.claim(uid); err != nil {
		r.contest(err)
		return
	}
	r.judgeName() // it may be retired
}

// contest handles the news that somebody with another uid publishes under our
// name.
func (r *Replica) contest(err error) {
	r.contested.CompareAndSwap(nil, &err)
	r.judgeName()
}

// judgeName ends Run if the name was taken when we came, or if our cluster was
// retired. It is asked again whenever something that it depends on has changed.
func (r *Replica) judgeName() {
	err := r.contested.Load()
	select {
	case <-r.settled:
	default:
		return
	}
	if !r.claimed.Load() {
		return
	}
	if retired := r.retiredError(); retired != nil {
		r.giveUpName(retired)
		return
	}
	if err == nil || r.store.heads.get(r.cluster) != nil {
		return
	}
	r.giveUpName(fmt.Errorf("%w: %s in clusterset %s: %w; give this cluster another name, or stop the other one",
		ErrNameTaken, r.cluster, r.store.clusterset, *err))
}

func (r *Replica) giveUpName(err error) {
	r.takenOnce.Do(func() {
		r.takenErr = err
		close(r.taken)
	})
}

// nameIsTaken tells whether judgeName has decided against us.
func (r *Replica) nameIsTaken() bool {
	select {
	case <-r.taken:
		return true
	default:
		return false
	}
}
