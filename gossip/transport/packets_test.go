package transport

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// TestIdleGoesByTheMonotonicClock: what is stored of a packet's time is a
// distance, and no date.
func TestIdleGoesByTheMonotonicClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newPacketConn(nil, nil, "w0.west")
		require.Zero(t, c.idle())
		time.Sleep(time.Minute)
		require.Equal(t, time.Minute, c.idle())
		c.touch()
		require.Zero(t, c.idle())
		require.EqualValues(t, time.Minute, c.used.Load())
	})
}
