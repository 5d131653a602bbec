package gossip

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestSetSeeds: new seeds are tried at once, a seed that goes takes nobody
// along, and one that is wrong changes nothing.
func TestSetSeeds(t *testing.T) {
	bubble(t, func(t *testing.T, net *network) {
		const eastern, northern = "10.0.1.1:7946", "10.0.2.1:7946"
		west := net.start(t, Config{Name: "w0.west", Advertise: seed, Join: []string{"10.9.9.9:7946"}})
		nodes := []*node{
			west,
			net.start(t, Config{Name: "w0.east", Advertise: eastern}),
			net.start(t, Config{Name: "w0.north", Advertise: northern}),
		}
		defer func() { stopAll(nodes) }()
		time.Sleep(10 * DefaultTuning().RejoinInterval) // by now it tries every 15 s
		require.Equal(t, []string{"w0.west"}, west.names())

		require.NoError(t, west.SetSeeds([]string{eastern}))
		time.Sleep(time.Second) // far less than RejoinInterval
		require.Equal(t, []string{"w0.east", "w0.west"}, west.names())

		require.ErrorContains(t, west.SetSeeds([]string{northern, "east:0"}), `seed "east:0": want host:port`)
		time.Sleep(settle)
		require.Equal(t, []string{"w0.east", "w0.west"}, west.names())

		require.NoError(t, west.SetSeeds([]string{northern}))
		time.Sleep(settle)
		require.Equal(t, []string{"w0.east", "w0.north", "w0.west"}, west.names())
		require.NoError(t, west.SetSeeds(nil))
		time.Sleep(time.Minute)
		require.Equal(t, []string{"w0.east", "w0.north", "w0.west"}, west.names())
	})
}
