package sim_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/test/sim"
)

// link is the issue's: 100 ms one way, with some jitter so that packets
// overtake one another.
func link(percent float64) sim.Link {
	return sim.Link{Delay: 100 * time.Millisecond, Jitter: 20 * time.Millisecond, Loss: percent / 100}
}

// run plays a scenario in a bubble.
func run(t *testing.T, c sim.Scenario) *sim.Result {
	t.Helper()
	var r *sim.Result
	synctest.Test(t, func(t *testing.T) {
		var err error
		r, err = c.Run()
		require.NoError(t, err)
	})
	return r
}

// play makes an event happen in a bubble.
func play(t *testing.T, c sim.Scenario, e sim.Event) *sim.Recovery {
	t.Helper()
	var r *sim.Recovery
	synctest.Test(t, func(t *testing.T) {
		var err error
		r, err = c.Play(e)
		require.NoError(t, err)
	})
	return r
}
