package isthmus

import (
	"cmp"
	"errors"
	"slices"
	"time"

	"github.com/coredns/coredns/plugin/transfer"
	"github.com/miekg/dns"

	"github.com/isthmus-dns/isthmus/discovery"
)

const (
	// maxTransfers limits the transfers of a stanza at one time. Each holds the
	// records that the table had when it began: a transfer is for people who
	// look at the table and for one or two secondaries.
	maxTransfers = 4
	// transferPiece is the number of records that are made before the client
	// has taken those before.
	transferPiece = 256
	// transferPatience is how long a piece waits for its client. CoreDNS has no
	// deadline for writing to one that doesn't read.
	transferPatience = 30 * time.Second
	// transferTime limits a whole transfer. 100,000 services take seconds.
	transferTime = 10 * time.Minute
)

var (
	_ transfer.Transferer = (*Isthmus)(nil) //nolint:misspell // CoreDNS's word

	errNotLoaded     = errors.New("no table to transfer yet")
	errManyTransfers = errors.New("too many transfers at one time")
)

// Transfer implements what the transfer plugin asks for. It has checked who
// asks; a query of type AXFR that comes without it is refused.
//
// What is sent is the zone as the viewer sees it at one moment. The channel is
// closed early, without the SOA record at the end, if the client is too slow:
// by that it knows that it has not got the whole zone (RFC 5936 section 2.2).
func (p *Isthmus) Transfer(origin string, serial uint32) (<-chan []dns.RR, error) {
	i := slices.IndexFunc(p.zones, func(z *zone) bool { return z.origin == origin })
	if i < 0 {
		return nil, transfer.ErrNotAuthoritative
	}
	z := p.zones[i]
	where := p.view.link.View()
	if where == nil || !p.view.link.Table().Loaded() || z.kind == zoneReverse && p.view.reverse.index() == nil {
		return nil, errNotLoaded
	}
	t := &zoneTransfer{query: query{Isthmus: p, zone: z, where: where}}
	t.req = new(dns.Msg).SetQuestion(origin, dns.TypeSOA)
	soa := t.soa(origin)
	if serial != 0 && int32(serial-soa.Serial) >= 0 { // RFC 1995 section 2, RFC 1982
		out := make(chan []dns.RR, 1)
		out <- []dns.RR{&soa}
		close(out)
		return out, nil
	}
	if p.transfers.Add(1) > maxTransfers {
		p.transfers.Add(-1)
		return nil, errManyTransfers
	}
	out := make(chan []dns.RR)
	t.out = out
	go func() {
		defer p.transfers.Add(-1)
		defer close(out)
		t.run()
	}()
	return out, nil
}

// zoneTransfer walks through one zone. Its query asks what a client would, so
// that both get the same records.
type zoneTransfer struct {
	query
	facts   *facts
	parts   []*discovery.Cluster
	entries []*discovery.Entry // by key; nil in a reverse zone
	index   *reverseIndex
	out     chan<- []dns.RR
	piece   []dns.RR
	end     time.Time
	ended   bool // the client takes no more
}

// hold takes what the zone has at one moment, and its serial. A table that
// never rests is taken as it is after a few tries, with the serial from before:
// then the next transfer finds a newer one.
func (t *zoneTransfer) hold() (soa dns.SOA) {
	for range 3 {
		soa = t.soa(t.zone.origin)
		if where := t.view.link.View(); where != nil {
			t.where = where
		}
		table := t.view.link.Table()
		t.parts, t.index = *table.Records(), t.view.reverse.index()
		t.facts = t.view.outlook.facts(t.where)
		t.entries = nil
		if t.zone.kind != zoneReverse {
			table.Walk(func(e *discovery.Entry) bool {
				t.entries = append(t.entries, e)
				return true
			})
		}
		if t.view.currentSerial() == soa.Serial {
			break
		}
	}
	slices.SortFunc(t.entries, func(x, y *discovery.Entry) int { return cmp.Compare(x.Key, y.Key) })
	return soa
}

func (t *zoneTransfer) run() {
	t.end = time.Now().Add(transferTime)
	soa := t.hold()
	last := soa // other plugins change what passes them
	t.add(&soa)
	t.add(&dns.NS{Hdr: t.headerOf(t.zone.origin, dns.TypeNS), Ns: t.zone.server})
	if t.zone.kind == zoneReverse {
		t.addPointers()
	} else {
		t.add(t.serverRecords(t.zone.server, dns.TypeANY)...)
		if version, ok := t.has(labelVersion); ok {
			t.add(&dns.TXT{Hdr: t.headerOf(version, dns.TypeTXT), Txt: []string{t.zone.version()}})
		}
		t.addGateways()
	}
	t.addCuts()
	for i, e := range t.entries {
		if t.ended {
			return
		}
		t.addService(e)
		t.entries[i] = nil // the table may have dropped it
	}
	t.add(&last)
	t.flush()
}

func (t *zoneTransfer) headerOf(owner string, rrtype uint16) dns.RR_Header {
	return dns.RR_Header{Name: owner, Rrtype: rrtype, Class: dns.ClassINET, Ttl: t.ttl}
}

// add takes records up, and sends what makes a piece.
func (t *zoneTransfer) add(rrs ...dns.RR) {
	t.piece = append(t.piece, rrs...)
	if len(t.piece) >= transferPiece {
		t.flush()
	}
}

func (t *zoneTransfer) flush() {
	if t.ended || len(t.piece) == 0 {
		t.piece = nil
		return
	}
	patience := time.NewTimer(min(transferPatience, time.Until(t.end)))
	defer patience.Stop()
	select {
	case t.out <- t.piece:
	case <-patience.C:
		t.ended = true
	}
	t.piece = nil
}

// addCuts adds the delegations of the stanza's zones right below this one, without
// which a secondary of this one alone would deny their names.
func (t *zoneTransfer) addCuts() {
	for _, z := range t.zones {
		if z == t.zone || t.zones.parentSide(z, z.origin) != t.zone {
			continue
		}
		t.add(&dns.NS{Hdr: t.headerOf(z.origin, dns.TypeNS), Ns: z.server})
		if within(z.origin, z.server) {
			t.add(t.serverRecords(z.server, dns.TypeANY)...)
		}
	}
}

// has tells whether a name (lower case, without the zone) can be one of the
// zone's: short enough, and not in another zone of the stanza below this one.
func (t *zoneTransfer) has(relative string) (owner string, ok bool) {
	owner = relative + "." + t.zone.origin
	return owner, len(owner) <= maxName && t.zones.match(owner) == t.zone
}

// addAnswer adds what a query for a name of a service would be answered with.
func (t *zoneTransfer) addAnswer(relative string, qtype uint16, answer func(q *query) (*dns.Msg, result)) {
	owner, ok := t.has(relative)
	if !ok || t.ended {
		return
	}
	q := t.query
	q.req = &dns.Msg{Question: []dns.Question{{Name: owner, Qtype: qtype, Qclass: dns.ClassINET}}}
	q.name, q.qtype = owner, qtype
	if m, res := answer(&q); res == resultAnswer {
		t.add(m.Answer...)
	}
}
