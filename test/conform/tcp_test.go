package conform

import (
	"encoding/binary"
	"io"
	"net"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestTCP is what RFC 7766 lets clients do to a connection, and what they do
// all the same.
func TestTCP(t *testing.T) {
	a := serve(t, NewModel(), "")
	dial := func(t *testing.T) *Conn {
		c, err := Dial("tcp", a.DNS)
		require.NoError(t, err)
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	answered := func(t *testing.T, c *Conn) {
		t.Helper()
		reply, err := c.Receive()
		require.NoError(t, err)
		require.True(t, isSentinel(reply), Describe(reply))
	}
	numbered := func(n uint16) []byte {
		q := Sentinel()
		binary.BigEndian.PutUint16(q, n)
		return q
	}

	t.Run("many queries in one segment", func(t *testing.T) {
		const n = 200
		var segment []byte
		for i := range uint16(n) {
			segment = append(segment, Framed(numbered(i))...)
		}
		c := dial(t)
		_, err := c.Write(segment)
		require.NoError(t, err)
		// Nothing more comes from us, but the answers do (RFC 7766 section 6.2.3).
		require.NoError(t, c.Conn.(*net.TCPConn).CloseWrite())
		var ids []uint16
		for range n {
			reply, err := c.Receive()
			require.NoError(t, err)
			ids = append(ids, binary.BigEndian.Uint16(reply))
		}
		slices.Sort(ids)
		require.Len(t, slices.Compact(ids), n)
		_, err = c.Receive()
		require.ErrorIs(t, err, io.EOF)
	})
	t.Run("octet by octet", func(t *testing.T) {
		c := dial(t)
		for _, b := range Framed(Sentinel()) {
			_, err := c.Write([]byte{b})
			require.NoError(t, err)
		}
		answered(t, c)
	})
	t.Run("half a message, then the rest", func(t *testing.T) {
		c, other := dial(t), dial(t)
		q := Framed(Sentinel())
		_, err := c.Write(q[:9])
		require.NoError(t, err)
		require.NoError(t, other.Send(Sentinel()))
		answered(t, other)
		_, err = c.Write(q[9:])
		require.NoError(t, err)
		answered(t, c)
	})
	t.Run("half a message, then the end", func(t *testing.T) {
		for n := range len(Framed(Sentinel())) {
			c := dial(t)
			_, err := c.Write(Framed(Sentinel())[:n])
			require.NoError(t, err)
			require.NoError(t, c.Conn.(*net.TCPConn).CloseWrite())
			_, err = c.Receive()
			require.ErrorIs(t, err, io.EOF, "%d octets", n)
		}
		require.NoError(t, Alive(a.DNS))
	})
	t.Run("closed in another order", func(t *testing.T) {
		var all []*Conn
		for range 5 {
			c := dial(t)
			require.NoError(t, c.Send(Sentinel()))
			all = append(all, c)
		}
		require.NoError(t, all[2].Close())
		require.NoError(t, all[0].Close())
		for _, i := range []int{4, 1, 3} {
			answered(t, all[i])
		}
	})
	t.Run("length 0, then a query", func(t *testing.T) {
		c := dial(t)
		require.NoError(t, c.Send(nil))
		require.NoError(t, c.Send(Sentinel()))
		answered(t, c)
	})
	t.Run("longest message", func(t *testing.T) {
		c := dial(t)
		require.NoError(t, c.Send(append(numbered(ID), make([]byte, 65535-len(Sentinel()))...)))
		reply, err := c.Receive()
		require.NoError(t, err)
		require.Equal(t, "NOERROR aa answer", Describe(reply))
	})
}
