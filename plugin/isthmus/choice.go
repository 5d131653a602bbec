package isthmus

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/isthmus-dns/isthmus/plugin/isthmus/locality"
)

// choice is by which rule a cluster was answered, as metrics count it;
// ReasonNone is that the client named the cluster.
type choice struct {
	tier   locality.Tier
	reason locality.Reason
}

// labelNamed is ReasonNone in metrics.
const labelNamed = "named"

// possible tells whether a rule can choose a cluster in a tier, so that no
// counter is there that stays 0 for ever.
func (c choice) possible() bool {
	switch c.reason {
	case locality.ReasonChosen, locality.ReasonSpill:
		return c.tier != locality.TierDistribute
	case locality.ReasonDistribute:
		return c.tier == locality.TierDistribute
	case locality.ReasonPanic, locality.ReasonLastResort:
		return c.tier != locality.TierOwn // which needs no gateway
	}
	return false
}

// choice is that of the service's plan for the cluster.
func (a *addresses) choice() choice { return choice{a.tier, a.reason} }

// choiceCounters count answers by tier and reason.
type choiceCounters [locality.Tiers][locality.Reasons]prometheus.Counter

func newChoiceCounters(answers *prometheus.CounterVec) (all choiceCounters) {
	for t := range all {
		for r := range all[t] {
			c, label := choice{locality.Tier(t), locality.Reason(r)}, labelNamed
			if c.possible() {
				label = c.reason.Label()
			}
			all[t][r] = answers.WithLabelValues(c.tier.String(), label)
		}
	}
	return all
}

// count counts an answer.
func (m *metrics) count(c choice) {
	if c.tier >= 0 && int(c.tier) < len(m.answers) && int(c.reason) < len(m.answers[c.tier]) {
		m.answers[c.tier][c.reason].Inc()
	}
}
