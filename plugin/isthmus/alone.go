package isthmus

import (
	"slices"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/plugin/isthmus/locality"
)

// only returns what there is to answer for a name that leaves no choice but one
// candidate, and the candidate's place in it. Mostly that is in the answers
// themselves. But a candidate that is out because its gateway is down is decided
// about alone, and comes back as the last one of any service does: whoever asks
// for one cluster has nowhere else to go.
func (a *answers) only(one int) (*answers, int) {
	switch a.all.Verdicts[one].Reason {
	case locality.ReasonDown, locality.ReasonDownSilent:
	default:
		return a, one
	}
	old := a.lone.Load()
	if old != nil && (*old)[one] != nil {
		return (*old)[one], 0
	}
	b := &answers{
		standpoint: a.standpoint, records: a.records, from: a.from, scope: a.scope,
		entry:      &discovery.Entry{Key: a.entry.Key, Candidates: a.entry.Candidates[one : one+1]},
		ways:       slices.Clone(a.ways[one : one+1]),
		candidates: slices.Clone(a.candidates[one : one+1]),
	}
	b.decide()
	built := make([]*answers, len(a.ways))
	if old != nil {
		copy(built, *old)
	}
	built[one] = b
	a.lone.CompareAndSwap(old, &built) // if it fails, the next query builds again
	return b, 0
}
