package locality_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/plugin/isthmus/locality"
)

// Labels and words are different for each, so that metrics and people can tell
// them apart.
func TestNames(t *testing.T) {
	texts, labels, tiers := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for r := range locality.Reasons {
		require.Regexp(t, "^[a-z_]+$", r.Label())
		require.NotEmpty(t, r.String())
		texts[r.String()], labels[r.Label()] = true, true
	}
	require.Len(t, texts, int(locality.Reasons))
	require.Len(t, labels, int(locality.Reasons))
	for tier := locality.TierOut; int(tier) < locality.Tiers; tier++ {
		tiers[tier.String()] = true
	}
	require.Len(t, tiers, locality.Tiers+1, "and out")
	require.NotPanics(t, func() { _ = locality.Reason(255).String() + locality.Reason(255).Label() })
}
