package gossip

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
)

// maxNodeState is the largest member of a push/pull: its seven field names
// take 41 octets, its name at most 127, its address 16, maxMeta 64.
const maxNodeState = 512

// maxErrorStream bounds the error text that a peer answers a push/pull with.
const maxErrorStream = 4 << 10

// errStream is wrapped by errors about streams that the gate refused.
var errStream = errors.New("stream refused")

// gatedConn is a stream whose incoming half memberlist may read: a push/pull
// whose header is as memberlist writes it and within bounds, and not an octet
// more than the header announces. An answer may be an error message instead.
type gatedConn struct {
	net.Conn
	answer bool // we dialed: what comes is an answer
	closed func()
	refuse func(reason string)

	br      *bufio.Reader
	head    []byte // checked, not yet read
	left    int64  // octets that may follow the head
	checked bool
	err     error
}

func newGatedConn(c net.Conn, answer bool, refuse func(reason string), closed func()) *gatedConn {
	return &gatedConn{Conn: c, answer: answer, refuse: refuse, closed: closed, br: bufio.NewReader(c)}
}

// Read gives octets that passed the gate. One goroutine at a time may call it.
func (g *gatedConn) Read(p []byte) (int, error) {
	if g.err != nil {
		return 0, g.err
	}
	if !g.checked {
		g.checked = true
		if g.err = g.check(); g.err != nil {
			if errors.Is(g.err, errStream) {
				g.refuse("stream")
			}
			return 0, g.slow(g.err)
		}
	}
	if len(g.head) > 0 {
		n := copy(p, g.head)
		g.head = g.head[n:]
		return n, nil
	}
	if g.left <= 0 {
		return 0, io.EOF
	}
	n, err := g.br.Read(p[:min(int64(len(p)), g.left)])
	g.left -= int64(n)
	g.err = g.slow(err) // for good
	return n, g.err
}

// slow counts a peer that did not say what it had to in time.
func (g *gatedConn) slow(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		g.refuse("slow")
	}
	return err
}

// Close closes the stream; the first call tells the owner.
func (g *gatedConn) Close() error {
	g.closed()
	return g.Conn.Close()
}

func (g *gatedConn) check() error {
	kind, err := g.readByte()
	if err != nil {
		return err
	}
	switch {
	case kind == typePushPull:
		nodes, state, err := g.readHeader()
		if err != nil {
			return err
		}
		g.left = int64(nodes)*maxNodeState + int64(state)
		return nil
	case kind == typeError && g.answer:
		g.left = maxErrorStream
		return nil
	}
	return fmt.Errorf("message type %d: %w", kind, errStream)
}

// readHeader reads {Nodes, UserStateLen, Join} in MessagePack. It takes only a
// map of three entries with each key once, so that memberlist's decoder, which
// takes much more, can't read other values from the same octets.
func (g *gatedConn) readHeader() (nodes, state uint64, err error) {
	b, err := g.readByte()
	if err != nil {
		return 0, 0, err
	}
	if b != 0x83 {
		return 0, 0, fmt.Errorf("push/pull header: not a map of three: %w", errStream)
	}
	seen := map[string]bool{}
	for range 3 {
		key, err := g.readKey()
		if err != nil {
			return 0, 0, err
		}
		if seen[key] {
			return 0, 0, fmt.Errorf("push/pull header: repeated key: %w", errStream)
		}
		seen[key] = true
		switch key {
		case "Nodes":
			nodes, err = g.readUint(MaxMembers)
		case "UserStateLen":
			state, err = g.readUint(MaxDigest)
		case "Join":
			err = g.readBool()
		default:
			err = fmt.Errorf("push/pull header: unknown key: %w", errStream)
		}
		if err != nil {
			return 0, 0, err
		}
	}
	return nodes, state, nil
}

// readKey reads a short string: one octet 0xa0 + length.
func (g *gatedConn) readKey() (string, error) {
	b, err := g.readByte()
	if err != nil {
		return "", err
	}
	n := int(b) - 0xa0
	if n < 0 || n > 31 {
		return "", fmt.Errorf("push/pull header: key is no short string: %w", errStream)
	}
	start := len(g.head)
	for range n {
		if _, err := g.readByte(); err != nil {
			return "", err
		}
	}
	return string(g.head[start:]), nil
}

// readUint reads a number of at most limit in any of MessagePack's integer
// forms of up to 32 bits.
func (g *gatedConn) readUint(limit uint64) (uint64, error) {
	b, err := g.readByte()
	if err != nil {
		return 0, err
	}
	size := 0
	switch b {
	case 0xcc, 0xd0:
		size = 1
	case 0xcd, 0xd1:
		size = 2
	case 0xce, 0xd2:
		size = 4
	default:
		if b > 0x7f {
			return 0, fmt.Errorf("push/pull header: not a number: %w", errStream)
		}
		return uint64(b), within(uint64(b), limit)
	}
	v := uint64(0)
	for i := range size {
		octet, err := g.readByte()
		if err != nil {
			return 0, err
		}
		if i == 0 && b >= 0xd0 && octet > 0x7f {
			return 0, fmt.Errorf("push/pull header: negative number: %w", errStream)
		}
		v = v<<8 | uint64(octet)
	}
	return v, within(v, limit)
}

func within(v, limit uint64) error {
	if v > limit {
		return fmt.Errorf("push/pull header: %d, at most %d are allowed: %w", v, limit, errStream)
	}
	return nil
}

func (g *gatedConn) readBool() error {
	b, err := g.readByte()
	if err == nil && b != 0xc2 && b != 0xc3 {
		err = fmt.Errorf("push/pull header: not a boolean: %w", errStream)
	}
	return err
}

// readByte reads an octet of the header and keeps it for memberlist.
func (g *gatedConn) readByte() (byte, error) {
	b, err := g.br.ReadByte()
	if err == nil {
		g.head = append(g.head, b)
	}
	return b, err
}
