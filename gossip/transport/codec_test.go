package transport

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/gossip"
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
