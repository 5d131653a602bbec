package transport

import (
	"bytes"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/gossip"
	"github.com/isthmus-dns/isthmus/gossip/trust"
)

func TestHelloRoundTrip(t *testing.T) {
	longest := strings.Repeat("a", 63) + "." + strings.Repeat("b", 63)
	for name, want := range map[string]hello{
		"packets": {kind: kindPackets, instance: [8]byte{1, 2, 3}, from: "w0.west", to: "w0.east"},
		"stream":  {kind: kindStream, from: "w0.west"},
		"longest": {kind: kindStream, from: longest, to: longest},
	} {
		t.Run(name, func(t *testing.T) {
			r := bytes.NewReader(append(want.encode(), "rest"...))
			got, err := readHello(r)
			require.NoError(t, err)
			require.Equal(t, want, got)
			require.Equal(t, 4, r.Len())
		})
	}
}

func TestAnswerRoundTrip(t *testing.T) {
	for name, want := range map[string]answer{
		"ok":      {code: codeOK, name: "w0.east"},
		"refused": {code: codeRefused, name: "w0.east", reason: strings.Repeat("r", maxReason)},
	} {
		t.Run(name, func(t *testing.T) {
			r := bytes.NewReader(append(want.encode(), "rest"...))
			got, err := readAnswer(r)
			require.NoError(t, err)
			require.Equal(t, want, got)
			require.Equal(t, 4, r.Len())
		})
	}
	long, err := readAnswer(bytes.NewReader(answer{code: codeRefused, name: "w0.east", reason: strings.Repeat("r", 999)}.encode()))
	require.NoError(t, err)
	require.Len(t, long.reason, maxReason)
}

func FuzzHello(f *testing.F) {
	f.Add(hello{kind: kindPackets, from: "w0.west", to: "w0.east"}.encode())
	f.Add([]byte("isth\x01\x02\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := readHello(bytes.NewReader(b))
		if err != nil {
			return
		}
		require.True(t, bytes.HasPrefix(b, h.encode()))
		_, _, err = gossip.SplitName(h.from)
		require.NoError(t, err)
	})
}

func FuzzAnswer(f *testing.F) {
	f.Add(answer{code: codeRefused, name: "w0.east", reason: "no"}.encode())
	f.Add([]byte("isth\x01\x00\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := readAnswer(bytes.NewReader(b))
		if err != nil {
			return
		}
		_, _, err = gossip.SplitName(a.name)
		require.NoError(t, err)
		require.LessOrEqual(t, len(a.reason), 3*maxReason) // an invalid octet becomes three
	})
}

func FuzzFrame(f *testing.F) {
	f.Add(appendFrame(nil, []byte("packet")))
	f.Add([]byte{0, 1, 0, 1})
	f.Add([]byte{7, 4, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < frameHeader {
			return
		}
		kind, size, err := parseFrame(b)
		if err != nil {
			return
		}
		require.LessOrEqual(t, size, maxFrame)
		if kind == framePacket {
			require.LessOrEqual(t, size, gossip.MaxPacket)
			require.Positive(t, size)
			require.Equal(t, b[:frameHeader], appendFrame(nil, make([]byte, size))[:frameHeader])
		}
	})
}

// FuzzAddressee: an SNI comes from anybody.
func FuzzAddressee(f *testing.F) {
	t0 := &Transport{id: trust.ID{Clusterset: "prod.example", Cluster: "east"}}
	for _, s := range []string{"w1.east.prod.example", "east.prod.example", ".prod.example", "w1.east.prod.example.", "W1.east.prod.example"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, sni string) {
		name := t0.addressee(sni)
		if name == "" {
			return
		}
		_, _, err := gossip.SplitName(name)
		require.NoError(t, err)
		require.Equal(t, sni, t0.serverName(gossip.Peer{Name: name}))
	})
}

// wire is a client that sends what it sends and then nothing.
type wire struct {
	net.Conn
	r    *bytes.Reader
	sent bytes.Buffer
}

func (w *wire) Read(b []byte) (int, error)       { return w.r.Read(b) }
func (w *wire) Write(b []byte) (int, error)      { return w.sent.Write(b) }
func (w *wire) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1} }
func (w *wire) Close() error                     { return nil }
func (w *wire) SetDeadline(time.Time) error      { return nil }
func (w *wire) SetReadDeadline(time.Time) error  { return nil }
func (w *wire) SetWriteDeadline(time.Time) error { return nil }

// FuzzOpening: whatever a connection begins with, a sibling gets it as it was
// read and the dialer nothing, or else it stays with us.
func FuzzOpening(f *testing.F) {
	w0 := lone(f, newAuthority(f, "prod"), "w0.east", Limits{})
	sibling, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(f, err)
	f.Cleanup(func() { _ = sibling.Close() })
	w0.place("w1.east", sibling.Addr().String())
	for _, name := range []string{"w1.east.prod", "w0.east.prod", ""} {
		first := clientHello(f, name, ProtoGossip)
		f.Add(first)
		f.Add(append([]byte(handedOn), first...))
		f.Add(append(first, "early"...))
	}
	f.Fuzz(func(t *testing.T, first []byte) {
		w := &wire{r: bytes.NewReader(first)}
		c, err := w0.own(w, false)
		require.NoError(t, err)
		defer c.Close()
		a, err := w0.shakeHands(t.Context(), c)
		if a.through == nil {
			require.Error(t, err, "no handshake ends with what the client says first")
			return
		}
		require.NoError(t, err)
		require.Zero(t, w.sent.Len())
		there, err := sibling.Accept()
		require.NoError(t, err)
		defer there.Close()
		require.NoError(t, c.Close()) // and with it the way there
		got, err := io.ReadAll(there)
		require.NoError(t, err)
		require.Equal(t, handedOn+string(first[:len(first)-w.r.Len()]), string(got))
	})
}
