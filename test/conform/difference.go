package conform

import (
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// Reply is what the differential test looks at in a reply.
type Reply struct {
	Rcode    int
	AA, TC   bool
	Answer   []string // owner, type and data of each record, sorted; owners in lower case
	SOA      bool     // in the authority section
	Question dns.Question
	msg      *dns.Msg
}

// ReadReply takes a reply apart. It keeps the question's letter case.
func ReadReply(m *dns.Msg) Reply {
	r := Reply{Rcode: m.Rcode, AA: m.Authoritative, TC: m.Truncated, msg: m}
	if len(m.Question) == 1 {
		r.Question = m.Question[0]
	}
	for _, rr := range m.Answer {
		h := rr.Header()
		r.Answer = append(r.Answer, strings.Join([]string{
			strings.ToLower(h.Name), dns.Type(h.Rrtype).String(), data(rr),
		}, " "))
	}
	slices.Sort(r.Answer)
	for _, rr := range m.Ns {
		r.SOA = r.SOA || rr.Header().Rrtype == dns.TypeSOA
	}
	return r
}

// data is a record without its header; names in it are in lower case, as Knot
// gives them the question's.
func data(rr dns.RR) string {
	text := strings.TrimPrefix(rr.String(), rr.Header().String())
	switch rr.(type) {
	case *dns.NS, *dns.SOA, *dns.SRV, *dns.PTR, *dns.SVCB, *dns.HTTPS:
		text = strings.ToLower(text)
	}
	return text
}

// Compared is one question and both servers' replies to it.
type Compared struct {
	Name        string // lower case
	Type        uint16
	UDP         bool
	Size        int // that the client takes over UDP
	Node        *Node
	Ours, Plain Reply
}

// Difference is one that we want. Explains tells whether it is the one between
// two replies that differ in the part.
type Difference struct {
	Name, What string
	Explains   func(part string, c *Compared) bool
}

// Parts of a reply that are compared.
const (
	partRcode    = "rcode"
	partAA       = "AA"
	partTC       = "TC"
	partAnswer   = "answer"
	partSOA      = "SOA"
	partQuestion = "question"
)

// Parts lists what differs.
func (c *Compared) Parts() []string {
	var parts []string
	for _, p := range []struct {
		name string
		same bool
	}{
		{partRcode, c.Ours.Rcode == c.Plain.Rcode},
		{partAA, c.Ours.AA == c.Plain.AA},
		{partTC, c.Ours.TC == c.Plain.TC},
		{partAnswer, slices.Equal(c.Ours.Answer, c.Plain.Answer)},
		{partSOA, c.Ours.SOA == c.Plain.SOA},
		{partQuestion, c.Ours.Question == c.Plain.Question},
	} {
		if !p.same {
			parts = append(parts, p.name)
		}
	}
	return parts
}

// Differences are all that we want, as README.md lists them.
var Differences = []Difference{
	{
		"weights",
		"A and AAAA have the addresses of one cluster, or of one gateway, drawn by weight; the zone has those of all that it may be (and may be truncated for it)",
		func(part string, c *Compared) bool {
			if c.Ours.TC || c.Node == nil || !c.oneOf(c.Node.Choices[c.Type]) {
				return false
			}
			// The addresses of all clusters may be too many where one's are not.
			return part == partAnswer || part == partTC
		},
	},
	{
		"for people",
		"the text of `_why` and `_clusters`; the zone has one string in its place",
		func(part string, c *Compared) bool {
			return part == partAnswer && c.Node != nil && c.Node.Explains && c.Type == dns.TypeTXT && c.only(dns.TypeTXT)
		},
	},
	{
		"for people, more than fits",
		"that text is longer than the reply may be: TC",
		func(part string, c *Compared) bool {
			return part == partTC && c.Ours.TC && c.UDP && c.Node != nil && c.Node.Explains && c.Type == dns.TypeTXT
		},
	},
	{
		"ANY",
		"one HINFO record, RFC 8482 section 4.2; Knot answers with a record set of its choice",
		func(part string, c *Compared) bool {
			return c.Type == dns.TypeANY && (part == partAnswer || part == partTC && c.Plain.TC) &&
				len(c.Ours.Answer) == 1 && c.Ours.Answer[0] == c.Name+` HINFO "RFC8482" ""`
		},
	},
	{
		"ANY without records",
		"NODATA where the name has no records but exists; a zone file can't say that, so the zone has a record there that nobody asks for (EUI48)",
		func(part string, c *Compared) bool {
			return c.Type == dns.TypeANY && (part == partAnswer || part == partSOA) && c.Ours.SOA && len(c.Ours.Answer) == 0 &&
				c.Node != nil && len(c.Node.Records) == 1 && c.Node.Records[0].Header().Rrtype == Empty
		},
	},
	{
		"serial",
		"the SOA record's serial, which tells the time of the last change",
		func(part string, c *Compared) bool {
			return part == partAnswer && c.Type == dns.TypeSOA && len(c.Ours.Answer) == 1 && len(c.Plain.Answer) == 1 &&
				withoutSerial(c.Ours.Answer[0]) == withoutSerial(c.Plain.Answer[0])
		},
	},
	{
		"some of what is truncated",
		"a truncated reply has the records that fit; Knot's has none",
		func(part string, c *Compared) bool {
			return part == partAnswer && c.UDP && c.Ours.TC && c.Plain.TC && len(c.Plain.Answer) == 0 && c.someOf(c.Node)
		},
	},
}

// oneOf tells whether our answer is one of the alternatives.
func (c *Compared) oneOf(choices [][]string) bool {
	var got []string
	for _, rr := range c.Ours.msg.Answer {
		got = append(got, data(rr))
	}
	slices.Sort(got)
	return slices.ContainsFunc(choices, func(choice []string) bool { return slices.Equal(choice, got) })
}

// only tells whether our answer has records of one type, and some.
func (c *Compared) only(rrtype uint16) bool {
	return len(c.Ours.Answer) > 0 && !slices.ContainsFunc(c.Ours.msg.Answer, func(rr dns.RR) bool { return rr.Header().Rrtype != rrtype })
}

// someOf tells whether our answer has only records that the name has.
func (c *Compared) someOf(n *Node) bool {
	return n != nil && !slices.ContainsFunc(c.Ours.msg.Answer, func(rr dns.RR) bool {
		return !slices.ContainsFunc(n.Records, func(o dns.RR) bool { return dns.IsDuplicate(rr, o) })
	})
}

func withoutSerial(soa string) string {
	fields := strings.Fields(soa)
	if len(fields) == 9 {
		fields[4] = ""
	}
	return strings.Join(fields, " ")
}
