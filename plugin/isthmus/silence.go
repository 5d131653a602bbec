package isthmus

import (
	"maps"
	"time"

	"github.com/isthmus-dns/isthmus/plugin/isthmus/locality"
)

// silence is who was not heard of lately, and what has to be remembered to tell
// it.
type silence struct {
	states map[string]locality.Freshness // of clusters that aren't fresh; replaced, never changed
	cutOff bool                          // most turned silent together
	// thawed is when that ended. Heartbeats come every 10 s: till all have had
	// one, those that are not heard of yet are as they were.
	thawed time.Time
	// met is since when a cluster is there of which nothing was heard in all
	// the time. What was not heard of since the start may have been heard of a
	// moment before.
	met map[string]time.Time
}

// judge looks at all clusters but the own one, which hears of itself by the
// same watchers as of all others.
func (s *silence) judge(l link, own string, now time.Time) {
	var names []string
	var since []time.Duration
	met := map[string]time.Time{}
	for _, c := range l.Table().Clusters() {
		name := c.Cluster.Name
		if name == own {
			continue
		}
		at, heard := l.Heard(name)
		if !heard {
			var known bool
			if at, known = s.met[name]; !known {
				at = now
			}
			met[name] = at
		}
		names, since = append(names, name), append(since, now.Sub(at))
	}
	s.met = met
	states, cutOff := locality.Judge(since)
	if s.cutOff && !cutOff {
		s.thawed = now
	}
	s.cutOff = cutOff
	next := map[string]locality.Freshness{}
	for i, state := range states {
		if state == locality.Silent && s.states[names[i]] == locality.Frozen && now.Sub(s.thawed) < locality.SilentAfter {
			state = locality.Frozen
		}
		if state != locality.Fresh {
			next[names[i]] = state
		}
	}
	if !maps.Equal(next, s.states) {
		s.states = next
	}
}
