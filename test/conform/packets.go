package conform

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// ID is that of all packets here.
const ID = 0x1a2b

// Known is a name that is always there, with one A record.
const Known = "neighbour.shop.global."

// Packet is a message as it goes over the wire, right or wrong.
type Packet struct {
	Name   string
	Octets []byte
}

// Flags of a header's second word, RFC 1035 section 4.1.1 and RFC 4035.
const (
	flagQR = 1 << 15
	flagAA = 1 << 10
	flagTC = 1 << 9
	flagRD = 1 << 8
	flagRA = 1 << 7
	flagZ  = 1 << 6
	flagAD = 1 << 5
	flagCD = 1 << 4
)

func opcode(n uint16) uint16 { return n << 11 }

// head is a header with its four counts.
func head(flags, qd, an, ns, ar uint16) []byte {
	var b []byte
	for _, n := range []uint16{ID, flags, qd, an, ns, ar} {
		b = binary.BigEndian.AppendUint16(b, n)
	}
	return b
}

// name is one without escapes in it.
func name(s string) []byte {
	var b []byte
	for label := range strings.SplitSeq(strings.TrimSuffix(s, "."), ".") {
		if label != "" {
			b = append(append(b, byte(len(label))), label...)
		}
	}
	return append(b, 0)
}

func question(owner string, qtype, class uint16) []byte {
	b := binary.BigEndian.AppendUint16(name(owner), qtype)
	return binary.BigEndian.AppendUint16(b, class)
}

// opt is an OPT record (RFC 6891 section 6.1.2).
func opt(size uint16, version byte, flags uint16, options ...[]byte) []byte {
	data := slices.Concat(options...)
	b := binary.BigEndian.AppendUint16([]byte{0}, dns.TypeOPT)
	b = binary.BigEndian.AppendUint16(b, size)
	b = binary.BigEndian.AppendUint16(append(b, 0, version), flags)
	b = binary.BigEndian.AppendUint16(b, uint16(len(data)))
	return append(b, data...)
}

func option(code uint16, data ...byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, code)
	return append(binary.BigEndian.AppendUint16(b, uint16(len(data))), data...)
}

const flagDO = 1 << 15

// options are well-formed ones by name.
var options = map[string][]byte{
	"unknown":       option(100),
	"nsid":          option(3),
	"subnet":        option(8, 0, 1, 24, 0, 192, 0, 2), // 192.0.2.0/24
	"expire":        option(9),
	"cookie":        option(10, 1, 2, 3, 4, 5, 6, 7, 8),
	"keepalive":     option(11),
	"padding":       option(12, 0, 0, 0, 0),
	"cookie, 7":     option(10, 1, 2, 3, 4, 5, 6, 7),
	"cookie, 41":    option(10, make([]byte, 41)...),
	"subnet, short": option(8, 0, 1, 24),
	"keepalive, 1":  option(11, 1),
}

func join(parts ...[]byte) []byte { return slices.Concat(parts...) }

// Packets are the queries of RFC 8906 section 8, then what its sections 3 to 7
// say about the rest, then what no honest client sends.
func Packets() []Packet {
	soa := question("global.", dns.TypeSOA, dns.ClassINET)
	a := question(Known, dns.TypeA, dns.ClassINET)
	plain := func(flags uint16, q []byte) []byte { return join(head(flags, 1, 0, 0, 0), q) }
	edns := func(q []byte, o ...[]byte) []byte { return join(head(0, 1, 0, 0, uint16(len(o))), q, join(o...)) }
	list := []Packet{
		{"plain", plain(0, soa)},
		{"TYPE1000", plain(0, question("global.", 1000, dns.ClassINET))},
		{"CD", plain(flagCD, soa)},
		{"AD", plain(flagAD, soa)},
		{"reserved flag", plain(flagZ, soa)},
		{"RD", plain(flagRD, soa)},
		{"AA, TC, RA", plain(flagAA|flagTC|flagRA, soa)},
		{"AD, CD, RD", plain(flagAD|flagCD|flagRD, soa)},
		{"EDNS 0", edns(soa, opt(4096, 0, 0))},
		{"EDNS 1", edns(soa, opt(4096, 1, 0))},
		{"EDNS 100", edns(soa, opt(4096, 100, 0))},
		{"EDNS 0, unknown flag", edns(soa, opt(4096, 0, 0x40))},
		{"EDNS 1, unknown flag", edns(soa, opt(4096, 1, 0x40))},
		{"EDNS 1, unknown option", edns(soa, opt(4096, 1, 0, options["unknown"]))},
		{"EDNS 1, unknown option and flag", edns(soa, opt(4096, 1, 0x40, options["unknown"]))},
		{"EDNS 0, DO", edns(soa, opt(4096, 0, flagDO))},
		{"EDNS 1, DO", edns(soa, opt(4096, 1, flagDO))},
		{"EDNS 0, options that are defined", edns(soa, opt(4096, 0, 0, options["nsid"], options["cookie"], options["expire"], options["subnet"]))},
		{"EDNS 0, size 512, truncated", edns(question("wide.shop.global.", dns.TypeA, dns.ClassINET), opt(512, 0, flagDO))},
		{"EDNS 0, not in the zone", edns(question("example.org.", dns.TypeSOA, dns.ClassINET), opt(4096, 0, 0))},
		{"not in the zone", plain(0, question("example.org.", dns.TypeSOA, dns.ClassINET))},
		{"root", plain(0, question(".", dns.TypeNS, dns.ClassINET))},
		{"name that does not exist", plain(0, question("nobody.global.", dns.TypeA, dns.ClassINET))},
	}
	for _, o := range []string{"unknown", "nsid", "subnet", "expire", "cookie", "keepalive", "padding", "cookie, 7", "cookie, 41", "subnet, short", "keepalive, 1"} {
		list = append(list, Packet{"EDNS 0, option " + o, edns(soa, opt(4096, 0, 0, options[o]))})
	}
	for n, op := range []string{1: "IQUERY", 2: "STATUS", 3: "3", 4: "NOTIFY", 5: "UPDATE", 6: "DSO", 15: "15"} {
		if op != "" {
			list = append(list,
				Packet{"opcode " + op, plain(opcode(uint16(n)), soa)},
				Packet{"opcode " + op + ", no question", head(opcode(uint16(n)), 0, 0, 0, 0)})
		}
	}
	classes := map[string]uint16{"0": 0, "CH": dns.ClassCHAOS, "HS": dns.ClassHESIOD, "NONE": dns.ClassNONE, "ANY": dns.ClassANY, "1000": 1000}
	for _, c := range []string{"0", "CH", "HS", "NONE", "ANY", "1000"} {
		list = append(list, Packet{"class " + c, plain(0, question(Known, dns.TypeA, classes[c]))})
	}
	for _, t := range []uint16{dns.TypeAXFR, dns.TypeIXFR, dns.TypeMAILB, dns.TypeMAILA, dns.TypeOPT, dns.TypeTSIG, dns.TypeTKEY, dns.TypeReserved, 0} {
		list = append(list, Packet{fmt.Sprintf("type %d", t), plain(0, question("global.", t, dns.ClassINET))})
	}
	return append(list, broken(soa, a, plain, edns)...)
}

// broken are packets that are no queries, or not one.
func broken(soa, a []byte, plain func(uint16, []byte) []byte, edns func([]byte, ...[]byte) []byte) []Packet {
	oneOPT := opt(1232, 0, 0)
	list := []Packet{
		{"query of 600 octets", edns(soa, opt(1232, 0, 0, option(12, make([]byte, 600-len(soa)-12-11-4)...)))},
		{"two OPT records", edns(soa, oneOPT, oneOPT)},
		{"three OPT records", edns(soa, oneOPT, oneOPT, oneOPT)},
		{"OPT in the answer section", join(head(0, 1, 1, 0, 0), soa, oneOPT)},
		{"OPT that is not the root's", join(head(0, 1, 0, 0, 1), soa, name("x."), oneOPT[1:])},
		{"OPT cut off", edns(soa, oneOPT[:len(oneOPT)-3])},
		{"option longer than its OPT", edns(soa, join(oneOPT[:len(oneOPT)-2], []byte{0, 4, 0, 3, 0, 9}))},
		{"OPT longer than the packet", edns(soa, join(oneOPT[:len(oneOPT)-2], []byte{0xff, 0xff}))},
		{"no question", head(0, 0, 0, 0, 0)},
		{"no question, EDNS 0", join(head(0, 0, 0, 0, 1), oneOPT)},
		{"no question, EDNS 0 and cookie", join(head(0, 0, 0, 0, 1), opt(1232, 0, 0, options["cookie"]))},
		{"two questions", join(head(0, 2, 0, 0, 0), soa, a)},
		{"two questions announced, one there", join(head(0, 2, 0, 0, 0), soa)},
		{"65535 questions announced", join(head(0, 0xffff, 0, 0, 0), soa)},
		{"question announced, none there", head(0, 1, 0, 0, 0)},
		{"question cut in its name", plain(0, a[:9])},
		{"question cut in its class", plain(0, a[:len(a)-1])},
		{"name that points at itself", join(head(0, 1, 0, 0, 0), []byte{0xc0, 12, 0, 1, 0, 1})},
		{"names that point at each other", join(head(0, 1, 0, 0, 0), []byte{0xc0, 14, 0xc0, 12, 0, 1, 0, 1})},
		{"name that points ahead", join(head(0, 1, 0, 0, 0), []byte{0xc0, 20, 0, 1, 0, 1, 0, 0}, name(Known))},
		{"name that points into the header", join(head(0, 1, 0, 0, 0), []byte{0xc0, 4, 0, 1, 0, 1})},
		{"pointer beyond the packet", join(head(0, 1, 0, 0, 0), []byte{0xff, 0xff, 0, 1, 0, 1})},
		{"label of a kind that is not defined", join(head(0, 1, 0, 0, 0), []byte{0x41, 1, 0, 0, 1, 0, 1})},
		{"name of 256 octets", plain(0, question(strings.Repeat("abcdefg.", 31)+"global.", dns.TypeA, dns.ClassINET))},
		{"name of 255 octets", plain(0, question(strings.Repeat("abcdefg.", 30)+"abcdef.global.", dns.TypeA, dns.ClassINET))},
		{"octets after the message", append(plain(0, soa), "garbage"...)},
		{"octets after the message, EDNS 0", append(edns(soa, oneOPT), 0)},
		{"octets in a label that are not text", join(head(0, 1, 0, 0, 0), []byte{4, 0, '.', '\\', 0xff}, a[len(name("neighbour.shop."))-1:])},
		{"response", plain(flagQR, soa)},
		{"response, unknown opcode", plain(flagQR|opcode(15), soa)},
		{"answer in the query", join(head(0, 1, 1, 0, 0), soa, name("global."), make([]byte, 10))},
		{"more answers announced than there are", join(head(0, 1, 0xffff, 0xffff, 0xffff), soa)},
		{"TSIG of nobody's key", join(head(0, 1, 0, 0, 1), soa, tsig())},
	}
	whole := plain(0, soa)
	for n := range 12 {
		list = append(list, Packet{fmt.Sprintf("the first %d octets", n), whole[:n]})
	}
	return list
}

// tsig is a TSIG record (RFC 8945 section 4.2) of a key that the server lacks.
func tsig() []byte {
	data := join(name("hmac-sha256."), make([]byte, 6), []byte{1, 44, 0, 32}, make([]byte, 32), []byte{0x1a, 0x2b, 0, 0, 0, 0})
	b := join(name("key.example."), []byte{0, 250, 0, 255, 0, 0, 0, 0})
	return append(binary.BigEndian.AppendUint16(b, uint16(len(data))), data...)
}
