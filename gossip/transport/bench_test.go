package transport

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// BenchmarkPacket sends a head-sized packet over TLS and waits for it.
func BenchmarkPacket(b *testing.B) {
	west, east := pair(b, Limits{})
	to := east.peer()
	packet := make([]byte, 300)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := west.WritePacket(packet, to); err != nil {
			b.Fatal(err)
		}
		<-east.Packets()
	}
}

// TestPacketAllocations bounds what a packet costs on an open connection, both
// sides together: its buffer at the receiver, and crypto/tls and timers.
func TestPacketAllocations(t *testing.T) {
	west, east := pair(t, Limits{})
	to := east.peer()
	packet := make([]byte, 300)
	send := func() {
		_, err := west.WritePacket(packet, to)
		require.NoError(t, err)
		<-east.Packets()
	}
	send() // opens the connection
	require.LessOrEqual(t, testing.AllocsPerRun(1000, send), 3.0)
}
