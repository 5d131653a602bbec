package gossip

import "time"

// voices are the members that spoke to us themselves, over connections that
// vouch for their cluster, and when they did last. At most MaxPerCluster of a
// cluster are kept, so that a cluster crowds out only itself.
type voices map[string]map[string]time.Time // by cluster and name

func (v voices) note(name string) {
	cluster, now := ClusterOf(name), time.Now()
	of := v[cluster]
	if of == nil {
		if len(v) >= MaxMembers {
			return // in plain text only: certificates name fewer clusters
		}
		of = map[string]time.Time{}
		v[cluster] = of
	}
	if _, ok := of[name]; !ok && len(of) >= MaxPerCluster {
		stalest := ""
		for other, at := range of {
			if stalest == "" || at.Before(of[stalest]) {
				stalest = other
			}
		}
		if now.Sub(of[stalest]) < spokeFor {
			return
		}
		delete(of, stalest)
	}
	of[name] = now
}

// fresh tells whether a member spoke within spokeFor.
func (v voices) fresh(name string) bool {
	at, ok := v[ClusterOf(name)][name]
	return ok && time.Since(at) < spokeFor
}
