package conform

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// patience bounds a wait for an answer that must come. It is long because test
// machines are shared.
const patience = 10 * time.Second

// Conn sends packets as they are, over UDP or TCP.
type Conn struct {
	net.Conn
	tcp bool
}

// Dial opens one; network is "udp" or "tcp".
func Dial(network, addr string) (*Conn, error) {
	c, err := net.DialTimeout(network, addr, patience)
	if err != nil {
		return nil, err
	}
	return &Conn{Conn: c, tcp: network == "tcp"}, nil
}

// Framed is a packet with TCP's length before it (RFC 1035 section 4.2.2).
func Framed(packet []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(packet))), packet...)
}

// Send sends one packet.
func (c *Conn) Send(packet []byte) error {
	if c.tcp {
		packet = Framed(packet)
	}
	_, err := c.Write(packet)
	return err
}

// Receive waits for one packet.
func (c *Conn) Receive() ([]byte, error) {
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	b := make([]byte, dns.MaxMsgSize)
	if !c.tcp {
		n, err := c.Read(b)
		return b[:n], err
	}
	if _, err := io.ReadFull(c, b[:2]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint16(b)
	_, err := io.ReadFull(c, b[:n])
	return b[:n], err
}

// sentinelID is that of a query whose answer shows that what was sent before it
// has been dealt with.
const sentinelID = 0x5e47

// Sentinel is a query that is always answered.
func Sentinel() []byte {
	b := join(head(0, 1, 0, 0, 0), question(Known, dns.TypeA, dns.ClassINET))
	binary.BigEndian.PutUint16(b, sentinelID)
	return b
}

func isSentinel(reply []byte) bool {
	return len(reply) >= 2 && binary.BigEndian.Uint16(reply) == sentinelID
}

// Exchange sends a packet over a connection of its own and waits for the reply.
func Exchange(network, addr string, packet []byte) ([]byte, error) {
	c, err := Dial(network, addr)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if err := c.Send(packet); err != nil {
		return nil, err
	}
	return c.Receive()
}

// Unanswered sends a packet that gets no reply: what comes is the answer to a
// query that is sent after it, on the same connection or, where the server hung
// up, on a new one. Replies over UDP come in any order, so that a reply which
// shouldn't be may come too late to be seen; over TCP it may not.
func Unanswered(network, addr string, packet []byte) error {
	c, err := Dial(network, addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.Send(packet); err != nil {
		return err
	}
	for range 2 {
		if err := c.Send(Sentinel()); err != nil {
			return Alive(addr)
		}
		reply, err := c.Receive()
		var waited net.Error
		switch {
		case err == nil && !isSentinel(reply):
			return fmt.Errorf("answered: %s", Describe(reply))
		case err != nil && c.tcp && !(errors.As(err, &waited) && waited.Timeout()):
			return Alive(addr)
		case err != nil:
			return err
		}
	}
	return nil
}

// Alive wants an answer over a new TCP connection.
func Alive(addr string) error {
	c, err := Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.Send(Sentinel()); err != nil {
		return err
	}
	reply, err := c.Receive()
	if err == nil && !isSentinel(reply) {
		err = fmt.Errorf("not the sentinel's answer: %x", reply)
	}
	return err
}

// Describe is a reply in a few words: its rcode, flags that are set, the
// numbers of its records that are not 0, and its OPT record. "-" is no reply.
func Describe(reply []byte) string {
	m := new(dns.Msg)
	switch {
	case reply == nil:
		return "-"
	case len(reply) < 12:
		return fmt.Sprintf("%d octets", len(reply))
	case m.Unpack(reply) != nil:
		return "malformed"
	}
	rcode := dns.RcodeToString[m.Rcode]
	if m.Rcode == dns.RcodeBadVers { // TSIG's BADSIG has the same number
		rcode = "BADVERS"
	}
	words := []string{rcode}
	for _, f := range []struct {
		set  bool
		name string
	}{
		{m.Id != ID, "other-id"},
		{!m.Response, "no-qr"},
		{m.Opcode != 0, fmt.Sprintf("opcode=%d", m.Opcode)},
		{m.Authoritative, "aa"},
		{m.Truncated, "tc"},
		{m.RecursionDesired, "rd"},
		{m.RecursionAvailable, "ra"},
		{m.Zero, "z"},
		{m.AuthenticatedData, "ad"},
		{m.CheckingDisabled, "cd"},
		{len(m.Question) != 1, fmt.Sprintf("questions=%d", len(m.Question))},
		{len(m.Answer) > 0, "answer"},
		{len(m.Ns) > 0, "authority"},
	} {
		if f.set {
			words = append(words, f.name)
		}
	}
	for _, rr := range m.Extra {
		if o, ok := rr.(*dns.OPT); ok {
			words = append(words, describeOPT(o))
		} else if words[len(words)-1] != "additional" {
			words = append(words, "additional")
		}
	}
	return strings.Join(words, " ")
}

func describeOPT(o *dns.OPT) string {
	words := []string{fmt.Sprintf("edns=%d", o.Version())}
	if o.Do() {
		words = append(words, "do")
	}
	if z := uint16(o.Hdr.Ttl) &^ flagDO; z != 0 {
		words = append(words, fmt.Sprintf("z=%#x", z))
	}
	for _, option := range o.Option {
		words = append(words, fmt.Sprintf("option=%d", option.Option()))
	}
	return strings.Join(words, " ")
}
