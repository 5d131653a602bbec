package transport

import (
	"bytes"
	"encoding/binary"
	"io"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/gossip"
	"github.com/isthmus-dns/isthmus/gossip/trust"
)

// counter reads one series of a registry, 0 if it is not there.
func counter(t testing.TB, r *prometheus.Registry, name, reason string) float64 {
	t.Helper()
	families, err := r.Gather()
	require.NoError(t, err)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && len(m.GetLabel()) == 1 && m.GetLabel()[0].GetValue() == reason {
				return m.GetCounter().GetValue()
			}
		}
	}
	return 0
}

// poolVictim is a pool on a real port, and an authenticated watcher of another
// cluster that speaks memberlist's protocol as it likes.
func poolVictim(t *testing.T, streams time.Duration) (east *member, evil hostile, refused func(reason string) float64) {
	t.Helper()
	prod := newAuthority(t, "prod")
	r := prometheus.NewRegistry()
	m := &member{
		running: start(t, Config{Name: "w0.east", Identity: identity(t, prod, "east", trust.Watcher)}),
		echo:    &echo{messages: make(chan string, 1024)},
	}
	m.runPool(t, gossip.Config{Registerer: r, Tuning: gossip.Tuning{StreamTimeout: streams}})
	return m, hostile{id: identity(t, prod, "west", trust.Watcher)}, func(reason string) float64 {
		return counter(t, r, "isthmus_gossip_refused_total", reason)
	}
}

// TestHostilePackets sends over TLS what memberlist would choke on.
func TestHostilePackets(t *testing.T) {
	east, evil, refused := poolVictim(t, patience)
	conn, answer := evil.hello(t, east.Addr(), kindPackets, "w0.west")
	require.Equal(t, codeOK, answer.code)
	user := []byte{8, 'x'}
	nested := user
	for range 1000 {
		nested = append(binary.BigEndian.AppendUint16([]byte{7, 1}, uint16(len(nested))), nested...)
	}
	before := taken()
	for _, c := range []struct {
		name   string
		packet []byte
		reason string
	}{
		{"inflating", append([]byte{9, 0x82}, make([]byte, 30<<10)...), "type"},
		{"encrypted", append([]byte{10}, make([]byte, 100)...), "type"},
		{"labeled", []byte{244, 1, 'a', 0}, "type"},
		{"compound in a compound", nested, "nested"},
		{"inflating in a compound", []byte{7, 1, 0, 2, 9, 0x82}, "type"},
		{"truncated compound", []byte{7, 200, 0, 1}, "truncated"},
		{"wrong checksum", []byte{12, 1, 2, 3, 4, 8, 'x'}, "checksum"},
		{"empty message", []byte{7, 1, 0, 0}, "empty"},
		{"huge suspicion", append([]byte{3}, make([]byte, 60<<10)...), "too_large"},
		{"push/pull in a packet", []byte{6, 0x83}, "type"},
	} {
		t.Run(c.name, func(t *testing.T) {
			had := refused(c.reason)
			_, err := conn.Write(appendFrame(nil, c.packet))
			require.NoError(t, err)
			require.Eventually(t, func() bool { return refused(c.reason) == had+1 }, patience, time.Millisecond)
		})
	}
	require.Less(t, taken(), before+64<<20, "what came was not inflated")
	_, err := conn.Write(appendFrame(nil, append([]byte{8}, "still taken"...)))
	require.NoError(t, err)
	require.Equal(t, "still taken", <-east.messages)
}

// taken is the memory in octets that the process has ever had from the system.
func taken() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.Sys
}

// header is memberlist's push/pull header in MessagePack: 33 octets if the
// state is small.
func header(nodes, state uint32) []byte {
	b := append([]byte{6, 0x83, 0xa5}, "Nodes"...)
	b = binary.BigEndian.AppendUint32(append(b, 0xce), nodes)
	b = append(append(b, 0xac), "UserStateLen"...)
	if state < 0x80 {
		b = append(b, byte(state))
	} else {
		b = binary.BigEndian.AppendUint32(append(b, 0xce), state)
	}
	return append(append(b, 0xa4), "Join\xc2"...)
}

// TestHostileStreams opens streams that announce what memberlist would choke on.
func TestHostileStreams(t *testing.T) {
	east, evil, refused := poolVictim(t, patience)
	require.Len(t, header(1<<20, 0), 33)
	before := taken()
	for name, send := range map[string][]byte{
		"a header of 33 octets":          header(1<<20, 0), // a million members
		"more members than there may be": header(gossip.MaxMembers+1, 0),
		"a state of 4 GiB":               header(1, 1<<32-1),
		"compressed":                     append([]byte{9, 0x82}, make([]byte, 30<<10)...),
		"encrypted":                      append([]byte{10, 0, 0, 1, 0}, make([]byte, 256)...),
		"labeled":                        {244, 1, 'a', 6},
		"user message":                   {8, 0x81, 0xa1, 'x', 1},
	} {
		t.Run(name, func(t *testing.T) {
			had := refused("stream")
			streamOut(t, evil, east, send)
			require.Eventually(t, func() bool { return refused("stream") == had+1 }, patience, time.Millisecond)
		})
	}
	require.Less(t, taken(), before+64<<20, "nothing was allocated by what a header says")
	require.Equal(t, []string{"w0.east"}, east.names())
}

// streamOut sends octets on a stream and waits for its end.
func streamOut(t *testing.T, from hostile, to *member, b []byte) {
	t.Helper()
	conn, answer := from.hello(t, to.Addr(), kindStream, "w0.west")
	require.Equal(t, codeOK, answer.code)
	_, _ = conn.Write(b) // it may be refused before the last octet
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(patience)))
	_, err := io.Copy(io.Discard, conn) // memberlist may answer with an error
	require.NotErrorIs(t, err, os.ErrDeadlineExceeded)
}

// TestSlowStreams opens streams on which nothing comes, or not enough in time.
func TestSlowStreams(t *testing.T) {
	east, evil, refused := poolVictim(t, 300*time.Millisecond)
	for name, send := range map[string][]byte{
		"silence":                 nil,
		"half a header":           header(1, 0)[:9],
		"a header and no members": header(100, 1<<10),
	} {
		t.Run(name, func(t *testing.T) {
			had := refused("slow")
			streamOut(t, evil, east, send)
			require.Eventually(t, func() bool { return refused("slow") == had+1 }, patience, time.Millisecond)
		})
	}
	t.Run("an octet at a time", func(t *testing.T) {
		had := refused("slow")
		conn, _ := evil.hello(t, east.Addr(), kindStream, "w0.west")
		drip := bytes.Repeat(header(100, 1<<10), 100)
		require.Eventually(t, func() bool { // each octet comes soon, the whole never does
			_, err := conn.Write(drip[:1])
			drip = drip[1:]
			return err != nil
		}, patience, 20*time.Millisecond)
		require.Eventually(t, func() bool { return refused("slow") == had+1 }, patience, time.Millisecond)
	})
}
