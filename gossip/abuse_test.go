package gossip

import (
	"context"
	"io"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestHostileInputStopsAtTheGate sends a running pool what memberlist would
// choke on.
func TestHostileInputStopsAtTheGate(t *testing.T) {
	bubble(t, func(t *testing.T, net *network) {
		victim := net.start(t, Config{Name: "w0.c1", Advertise: seed})
		defer victim.stop()
		evil := net.listen("w0.evil", "10.6.6.6:7946")
		time.Sleep(settle)

		stream, err := evil.Dial(context.Background(), Peer{Addr: seed})
		require.NoError(t, err)
		defer stream.Close()
		require.NoError(t, stream.SetDeadline(time.Now().Add(time.Minute)))
		_, err = stream.Write(encode(t, typePushPull, pushPullHeader{Nodes: 1 << 20, UserStateLen: 20 << 20}))
		require.NoError(t, err)
		_, err = stream.Read(make([]byte, 1))
		require.ErrorIs(t, err, io.EOF)
		require.Equal(t, 1.0, value(t, victim.metrics.refused.WithLabelValues("stream")))

		_, err = evil.WritePacket([]byte{9, 0x82}, Peer{Addr: seed})
		require.NoError(t, err)
		time.Sleep(time.Second)
		require.Equal(t, 1.0, value(t, victim.metrics.refused.WithLabelValues("type")))
		require.Equal(t, []string{"w0.c1"}, victim.names())
	})
}

// TestNobodyChoosesWhereAnswersGo pings with the address of a third party.
func TestNobodyChoosesWhereAnswersGo(t *testing.T) {
	type ping struct {
		SeqNo      uint32
		Node       string
		SourceAddr []byte
		SourcePort uint16
		SourceNode string
	}
	bubble(t, func(t *testing.T, net *network) {
		nodes := clusters(t, net, 2)
		defer func() { stopAll(nodes) }()
		third := net.listen("w0.third", "10.3.3.3:7946")
		time.Sleep(settle)
		for _, source := range []string{"", "w0.stranger", "w0.c2"} {
			_, err := nodes[1].port.WritePacket(encode(t, typePing, ping{
				SeqNo: 77, Node: "w0.c1", SourceAddr: []byte{10, 3, 3, 3}, SourcePort: 7946, SourceNode: source,
			}), Peer{Addr: seed})
			require.NoError(t, err)
		}
		time.Sleep(time.Second)
		require.Empty(t, third.packets)
		require.Equal(t, 2.0, value(t, nodes[0].metrics.dropped.WithLabelValues(dropUnknownPeer)))
	})
}

func TestInboxIsBounded(t *testing.T) {
	m := newMetrics(nil)
	in := newInbox(m)
	large := make([]byte, MaxPacket)
	fit := maxQueuedOctets / len(large)
	for range fit + 3 {
		in.putMessage(message{body: large})
	}
	require.Len(t, in.messages, fit)
	require.Equal(t, 3.0, value(t, m.dropped.WithLabelValues(dropQueueFull)))

	in = newInbox(m)
	for range maxQueuedMessages + 2 {
		in.putMessage(message{})
	}
	require.Equal(t, 5.0, value(t, m.dropped.WithLabelValues(dropQueueFull)))
}

func TestMembersAllocatesNothing(t *testing.T) {
	r := newRoster("w0.self")
	r.join("w0.self", netip.MustParseAddrPort("10.0.0.1:1"))
	require.Zero(t, testing.AllocsPerRun(100, func() { r.members() }))
}
