package gossip

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"
	"net"
	"testing"
	"time"

	"github.com/hashicorp/go-msgpack/v2/codec"
	"github.com/stretchr/testify/require"
)

// aliveMessage has the fields of memberlist's alive message.
type aliveMessage struct {
	Incarnation uint32
	Node        string
	Addr        []byte
	Port        uint16
	Meta        []byte
	Vsn         []uint8
}

func encode(t testing.TB, kind byte, v any) []byte {
	t.Helper()
	buf := bytes.NewBuffer([]byte{kind})
	require.NoError(t, codec.NewEncoder(buf, &codec.MsgpackHandle{}).Encode(v))
	return buf.Bytes()
}

// sendAlive lets a member claim that another one is alive.
func sendAlive(t *testing.T, from *node, name string, addr, meta []byte) {
	t.Helper()
	msg := encode(t, typeAlive, aliveMessage{
		Incarnation: 1, Node: name, Addr: addr, Port: 7946, Meta: meta,
		Vsn: []uint8{1, 5, protocol, delegateProtocol, delegateProtocol, delegateProtocol},
	})
	_, err := from.port.WritePacket(msg, Peer{Addr: seed})
	require.NoError(t, err)
}

func compound(parts ...[]byte) []byte {
	b := []byte{typeCompound, byte(len(parts))}
	for _, p := range parts {
		b = binary.BigEndian.AppendUint16(b, uint16(len(p)))
	}
	return append(b, bytes.Join(parts, nil)...)
}

func checksummed(b []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{typeCRC}, crc32.ChecksumIEEE(b)), b...)
}

func TestSplitPacket(t *testing.T) {
	user, ping := []byte{typeUser, 1, 2}, []byte{typePing, 3}
	for _, c := range []struct {
		name string
		give []byte
		want [][]byte
		err  error
	}{
		{name: "one message", give: user, want: [][]byte{user}},
		{name: "checksummed", give: checksummed(user), want: [][]byte{user}},
		{name: "compound", give: compound(ping, user, user), want: [][]byte{ping, user, user}},
		{name: "checksummed compound", give: checksummed(compound(ping, user)), want: [][]byte{ping, user}},
		{name: "empty", err: errEmpty},
		{name: "empty under checksum", give: checksummed(nil), err: errEmpty},
		{name: "short checksum", give: []byte{typeCRC, 0, 0}, err: errTruncated},
		{name: "wrong checksum", give: append(checksummed(user), 9), err: errChecksum},
		{name: "compressed", give: []byte{9, 1}, err: errType},
		{name: "encrypted", give: []byte{10, 1}, err: errType},
		{name: "labeled", give: []byte{244, 1, 'a', typePing}, err: errType},
		{name: "push/pull in a packet", give: []byte{typePushPull, 1}, err: errType},
		{name: "compressed inside", give: compound(user, []byte{9, 1}), err: errType},
		{name: "compound inside", give: compound(compound(user)), err: errNested},
		{name: "checksum inside", give: checksummed(checksummed(user)), err: errNested},
		{name: "empty inside", give: compound(user, nil), err: errEmpty},
		{name: "no count", give: []byte{typeCompound}, err: errTruncated},
		{name: "no lengths", give: []byte{typeCompound, 9, 0}, err: errTruncated},
		{name: "truncated", give: compound(user, user)[:9], err: errTruncated},
		{name: "trailing octets", give: append(compound(user), 1), err: errTooLarge},
		{name: "long control message", give: make([]byte, maxControl+1), err: errTooLarge},
		{name: "long packet", give: append([]byte{typeUser}, make([]byte, MaxPacket)...), err: errTooLarge},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := splitPacket(c.give, nil)
			require.ErrorIs(t, err, c.err)
			if c.err == nil {
				require.Equal(t, c.want, got)
			}
		})
	}
}

func FuzzSplitPacket(f *testing.F) {
	user, ping := []byte{typeUser, 1, 2}, []byte{typePing, 3}
	f.Add(user)
	f.Add(checksummed(compound(ping, user)))
	f.Add(compound(compound(user)))
	f.Add([]byte{9, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		parts, err := splitPacket(b, nil)
		if err != nil {
			return
		}
		total := 0
		for _, p := range parts {
			total += len(p)
			require.NoError(t, checkMessage(p))
		}
		require.LessOrEqual(t, total, len(b))
		require.LessOrEqual(t, len(parts), 255)
	})
}

type pushPullHeader struct {
	Nodes        int
	UserStateLen int
	Join         bool
}

// gated puts octets in front of a gate and reads what comes through.
func gated(b []byte, answer bool) (out []byte, refused int, err error) {
	here, there := net.Pipe()
	go func() {
		_ = there.SetWriteDeadline(time.Now().Add(time.Second)) // the gate may stop reading
		_, _ = there.Write(b)
		_ = there.Close()
	}()
	g := newGatedConn(here, answer, func(string) { refused++ }, func() {})
	defer g.Close()
	out, err = io.ReadAll(g)
	return out, refused, err
}

func TestStreamGate(t *testing.T) {
	fine := encode(t, typePushPull, pushPullHeader{Nodes: 1, UserStateLen: 10, Join: true})
	body := append(bytes.Clone(fine), make([]byte, 60)...)
	for _, c := range []struct {
		name   string
		give   []byte
		answer bool
		want   []byte
		refuse bool
	}{
		{name: "push/pull", give: body, want: body},
		{
			name: "largest", give: encode(t, typePushPull, pushPullHeader{Nodes: MaxMembers, UserStateLen: MaxDigest}),
			want: encode(t, typePushPull, pushPullHeader{Nodes: MaxMembers, UserStateLen: MaxDigest}),
		},
		{
			name: "more than announced", give: append(bytes.Clone(fine), make([]byte, 4096)...),
			want: append(bytes.Clone(fine), make([]byte, maxNodeState+10)...),
		},
		{name: "error as an answer", give: []byte{typeError, 1, 2}, answer: true, want: []byte{typeError, 1, 2}},
		{name: "error unasked", give: []byte{typeError, 1, 2}, refuse: true},
		{name: "user message", give: []byte{typeUser, 1, 2}, refuse: true},
		{name: "ping", give: []byte{typePing, 1, 2}, refuse: true},
		{name: "compressed", give: []byte{9, 1, 2}, refuse: true},
		{name: "labeled", give: []byte{244, 1, 'a', typePushPull}, refuse: true},
		{name: "too many members", give: encode(t, typePushPull, pushPullHeader{Nodes: MaxMembers + 1}), refuse: true},
		{name: "a million members", give: encode(t, typePushPull, pushPullHeader{Nodes: 1 << 20}), refuse: true},
		{name: "too much state", give: encode(t, typePushPull, pushPullHeader{UserStateLen: MaxDigest + 1}), refuse: true},
		{name: "negative", give: encode(t, typePushPull, pushPullHeader{Nodes: -1}), refuse: true},
		{name: "negative 32", give: encode(t, typePushPull, pushPullHeader{Nodes: -1 << 30}), refuse: true},
		{name: "huge", give: encode(t, typePushPull, pushPullHeader{Nodes: 1 << 40}), refuse: true},
		{name: "array", give: []byte{typePushPull, 0x93, 1, 1, 0xc2}, refuse: true},
		{name: "key twice", give: []byte{typePushPull, 0x83, 0xa5, 'N', 'o', 'd', 'e', 's', 1, 0xa5, 'N', 'o', 'd', 'e', 's', 1}, refuse: true},
		{name: "unknown key", give: []byte{typePushPull, 0x83, 0xa1, 'x', 1}, refuse: true},
		{name: "nothing", give: nil, want: []byte{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, refused, err := gated(c.give, c.answer)
			if c.refuse {
				require.ErrorIs(t, err, errStream)
				require.Empty(t, out)
				require.Equal(t, 1, refused)
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.want, out)
		})
	}
}

func FuzzStreamGate(f *testing.F) {
	f.Add(encode(f, typePushPull, pushPullHeader{Nodes: 300, UserStateLen: 70000, Join: true}))
	f.Add(encode(f, typePushPull, pushPullHeader{Nodes: 1 << 30}))
	f.Add([]byte{typeError, 0x81})
	f.Fuzz(func(t *testing.T, b []byte) {
		out, _, err := gated(b, false)
		if err != nil {
			return
		}
		require.True(t, bytes.HasPrefix(b, out))
		if len(out) == 0 {
			return
		}
		// memberlist's own decoder must read the same bounds.
		var h pushPullHeader
		require.NoError(t, codec.NewDecoderBytes(out[1:], &codec.MsgpackHandle{}).Decode(&h))
		require.LessOrEqual(t, h.Nodes, MaxMembers)
		require.LessOrEqual(t, h.UserStateLen, MaxDigest)
		require.GreaterOrEqual(t, min(h.Nodes, h.UserStateLen), 0)
	})
}

func TestParseLine(t *testing.T) {
	for line, want := range map[string]string{
		"[DEBUG] memberlist: Stream connection": "DEBUG Stream connection",
		"[ERR] memberlist: Push/Pull failed":    "WARN Push/Pull failed",
		"[INFO] memberlist: Marking x":          "INFO Marking x",
		"no level":                              "INFO no level",
		"[WARN] memberlist: Binding to public address without encryption!": "DEBUG Binding to public address without encryption!",
	} {
		level, text := parseLine(line)
		require.Equal(t, want, level.String()+" "+text)
	}
}
