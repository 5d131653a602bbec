package locality_test

import (
	"testing"
	"time"

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

func TestRoundTrip(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "-", -1: "-", 1: "0.01ms", 43 * time.Microsecond: "0.043ms", 394 * time.Microsecond: "0.394ms", 5 * time.Millisecond: "5ms",
		41234 * time.Microsecond: "41.2ms", 120 * time.Millisecond: "120ms", 999900 * time.Microsecond: "1000ms", 2500 * time.Millisecond: "2500ms",
	} {
		require.Equal(t, want, locality.RoundTrip(d), d)
	}
}
