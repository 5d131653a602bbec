package conform

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/isthmus-dns/isthmus/test/cluster"
	"github.com/isthmus-dns/isthmus/test/knot"
)

const (
	fewQueries  = 20_000  // of a usual run
	manyQueries = 200_000 // of one with ISTHMUS_SOAK
	inFlight    = 8
)

// TestDifferential asks our server and a plain one the same. ISTHMUS_SEED
// repeats a run.
func TestDifferential(t *testing.T) {
	m, begun := NewModel(), time.Now()
	zones := map[string]*Zone{}
	texts := map[string]string{}
	for _, origin := range origins {
		zones[origin] = m.Zone(origin)
		texts[origin] = zones[origin].Text()
	}
	dir := t.TempDir()
	plain := knot.Write(t, dir, texts)
	if plain == nil {
		t.Skip("knotd is not installed: Debian's package is called knot")
	}
	a := serve(t, m, "")
	cluster.Program(t, dir, plain.Program, plain.Args...).Start()
	require.Eventually(t, func() bool {
		r, err := ask("udp", plain.Addr, new(dns.Msg).SetQuestion(origins[1], dns.TypeSOA))
		return err == nil && r.Rcode == dns.RcodeSuccess
	}, patience, 20*time.Millisecond, "knotd answers")

	n, seed := uint64(fewQueries), uint64(time.Now().UnixNano())
	if os.Getenv("ISTHMUS_SOAK") != "" {
		n = manyQueries
	}
	if s := os.Getenv("ISTHMUS_SEED"); s != "" {
		var err error
		seed, err = strconv.ParseUint(s, 10, 64)
		require.NoError(t, err)
	}
	t.Logf("servers are there after %v", time.Since(begun).Round(time.Millisecond))
	d := newDifferential(zones, a.DNS, plain.Addr)
	begun = time.Now()
	d.run(t, seed, n)
	t.Logf("seed %d: %d queries in %v", seed, n, time.Since(begun).Round(time.Millisecond))
	for _, rule := range slices.Sorted(maps.Keys(d.matched)) {
		t.Logf("%-12s %d", rule, d.matched[rule])
	}
	for _, rcode := range slices.Sorted(maps.Keys(d.rcodes)) {
		t.Logf("%-12s %d", dns.RcodeToString[rcode], d.rcodes[rcode])
	}
	require.Empty(t, d.unexplained, "ISTHMUS_SEED=%d", seed)
	for _, rule := range Differences {
		require.Positive(t, d.matched[rule.Name], "nothing differs by %q any more: take it out of the table", rule.Name)
	}
}

// differential is one run.
type differential struct {
	zones       map[string]*Zone
	ours, plain string
	names       []string // all that exist, sorted
	special     []string // those where servers are most likely to differ
	labels      []string

	mu          sync.Mutex
	matched     map[string]int
	rcodes      map[int]int
	unexplained []string
}

func newDifferential(zones map[string]*Zone, ours, plain string) *differential {
	d := &differential{zones: zones, ours: ours, plain: plain, matched: map[string]int{}, rcodes: map[int]int{}}
	labels := map[string]bool{"nobody": true, "a.b": true, "xn--bcher-kva": true}
	for _, z := range zones {
		for name, n := range z.Nodes {
			if len(n.Choices) > 0 || n.Explains || len(n.Records) > 10 || strings.HasSuffix("."+z.Origin, "."+name) {
				d.special = append(d.special, name)
			}
			for ; name != z.Origin; _, name, _ = strings.Cut(name, ".") {
				d.names = append(d.names, name)
				label, _, _ := strings.Cut(name, ".")
				labels[label] = true
			}
		}
		d.names = append(d.names, z.Origin)
	}
	slices.Sort(d.special)
	slices.Sort(d.names)
	d.names = slices.Compact(d.names)
	d.labels = slices.Sorted(maps.Keys(labels))
	return d
}

// node is what a name has, nil if it has nothing.
func (d *differential) node(name string) *Node {
	for _, z := range d.zones {
		if n := z.Nodes[name]; n != nil {
			return n
		}
	}
	return nil
}

// run asks n queries. Each is made from the seed and its number alone.
func (d *differential) run(t *testing.T, seed, n uint64) {
	var next atomic.Uint64
	var g errgroup.Group
	for range inFlight {
		g.Go(func() error {
			ours, plain := &asker{addr: d.ours}, &asker{addr: d.plain}
			defer ours.close()
			defer plain.close()
			for i := next.Add(1); i <= n; i = next.Add(1) {
				q := d.query(rand.New(rand.NewPCG(seed, i)))
				if err := d.compare(q, ours, plain); err != nil {
					return fmt.Errorf("query %d of seed %d: %w: %v", i, seed, err, q.msg)
				}
			}
			return nil
		})
	}
	require.NoError(t, g.Wait())
}

type query struct {
	msg     *dns.Msg
	network string
	size    int
}

var types = []uint16{
	dns.TypeA, dns.TypeA, dns.TypeA, dns.TypeAAAA, dns.TypeAAAA, dns.TypeSRV, dns.TypeSRV, dns.TypeTXT, dns.TypeSOA, dns.TypeNS, dns.TypeANY,
	dns.TypeCNAME, dns.TypePTR, dns.TypeMX, dns.TypeDS, dns.TypeDNSKEY, dns.TypeNSEC, dns.TypeNSEC3PARAM, dns.TypeRRSIG,
	dns.TypeDNAME, dns.TypeCAA, dns.TypeHTTPS, dns.TypeSVCB, dns.TypeHINFO, dns.TypeNAPTR, dns.TypeTLSA, dns.TypeSPF, 1000, 65000,
}

func (d *differential) query(r *rand.Rand) query {
	m := new(dns.Msg)
	m.Id = uint16(r.Uint32())
	m.RecursionDesired, m.CheckingDisabled, m.AuthenticatedData = r.IntN(2) == 0, r.IntN(8) == 0, r.IntN(8) == 0
	q := query{msg: m, network: "udp", size: dns.MinMsgSize}
	if r.IntN(4) == 0 {
		q.network = "tcp"
	}
	name, qtype := d.name(r), types[r.IntN(len(types))]
	if n := d.node(name); n != nil && r.IntN(2) == 0 {
		if has := n.types(); len(has) > 0 {
			qtype = has[r.IntN(len(has))]
		}
	}
	m.Question = []dns.Question{{Name: mixed(r, name), Qtype: qtype, Qclass: dns.ClassINET}}
	if r.IntN(4) > 0 {
		size := 512 + r.IntN(4096-512+1)
		m.SetEdns0(uint16(size), r.IntN(2) == 0)
		q.size = min(size, 1232)
	}
	return q
}

// telling are labels that mean something somewhere.
var telling = []string{"*", "_tcp", "_udp", "_sctp", "_http", "_why", "_clusters", "_", "dns", "ns", "dns-version", "west"}

// name makes one in or around the zones.
func (d *differential) name(r *rand.Rand) string {
	name, label := d.names[r.IntN(len(d.names))], strings.ReplaceAll(d.labels[r.IntN(len(d.labels))], ".", `\.`)
	if r.IntN(2) == 0 {
		label = telling[r.IntN(len(telling))]
	}
	first, parent, _ := strings.Cut(name, ".")
	switch r.IntN(12) {
	case 0: // child
		name = label + "." + name
	case 1: // sibling
		name = label + "." + parent
	case 2: // parent
		name = parent
	case 3: // grandchild
		name = label + "." + d.labels[r.IntN(len(d.labels))] + "." + name
	case 4: // one that begins alike
		name = first + "x." + parent
	case 5: // a label left out, or one too many, in the middle
		second, rest, _ := strings.Cut(parent, ".")
		name = first + "." + rest
		if r.IntN(2) == 0 {
			name = strings.Join([]string{first, label, second, rest}, ".")
		}
	case 6, 7: // one that has more to it than most
		name = d.special[r.IntN(len(d.special))]
	case 8: // the zones' own, and one whose answers fit with or without addresses
		name = []string{origins[0], origins[1], "wide.shop.global."}[r.IntN(3)]
	case 9: // somewhere else
		name = []string{"example.", ".", "xglobal.", "global.example.", "shopxexample.", "example.com."}[r.IntN(6)]
		if r.IntN(2) == 0 {
			name = label + "." + strings.TrimPrefix(name, ".")
		}
	}
	if _, ok := dns.IsDomainName(name); !ok || name == "" {
		return "."
	}
	return name
}

// mixed gives letters a random case.
func mixed(r *rand.Rand, s string) string {
	if r.IntN(2) == 0 {
		return s
	}
	b := []byte(s)
	for i, c := range b {
		if c >= 'a' && c <= 'z' && r.IntN(2) == 0 {
			b[i] = c - 'a' + 'A'
		}
	}
	return string(b)
}

func (d *differential) compare(q query, ours, plain *asker) error {
	got, err := ours.ask(q)
	if err != nil {
		return fmt.Errorf("ours: %w", err)
	}
	want, err := plain.ask(q)
	if err != nil {
		return fmt.Errorf("knot: %w", err)
	}
	c := &Compared{
		Name: strings.ToLower(q.msg.Question[0].Name), Type: q.msg.Question[0].Qtype, UDP: q.network == "udp", Size: q.size,
		Ours: ReadReply(got), Plain: ReadReply(want),
	}
	c.Node = d.node(c.Name)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.rcodes[got.Rcode]++
	for _, rr := range got.Answer {
		if rr.Header().Name != q.msg.Question[0].Name {
			d.note(q, got, want, "letter case of an owner")
		}
	}
	for _, part := range c.Parts() {
		i := slices.IndexFunc(Differences, func(rule Difference) bool { return rule.Explains(part, c) })
		if i < 0 {
			d.note(q, got, want, part)
			continue
		}
		d.matched[Differences[i].Name]++
	}
	return nil
}

// note keeps what must not be, up to a number that can be read.
func (d *differential) note(q query, got, want *dns.Msg, part string) {
	if len(d.unexplained) < 5 {
		d.unexplained = append(d.unexplained, fmt.Sprintf("%s differs, %s, size %d\n--- ours\n%v--- plain\n%v", part, q.network, q.size, got, want))
	}
}

// asker holds connections to one server.
type asker struct {
	addr     string
	udp, tcp *dns.Conn
}

func (a *asker) close() {
	for _, c := range []*dns.Conn{a.udp, a.tcp} {
		if c != nil {
			_ = c.Close()
		}
	}
}

// ask sends a query, and once more over a new connection if the first has been
// closed, as servers do with those that were used long enough.
func (a *asker) ask(q query) (r *dns.Msg, err error) {
	conn := &a.udp
	if q.network == "tcp" {
		conn = &a.tcp
	}
	client := dns.Client{Timeout: patience, UDPSize: dns.MaxMsgSize}
	for range 3 {
		if *conn == nil {
			if *conn, err = dns.DialTimeout(q.network, a.addr, patience); err != nil {
				return nil, err
			}
		}
		if r, _, err = client.ExchangeWithConn(q.msg.Copy(), *conn); err == nil {
			return r, nil
		}
		_ = (*conn).Close()
		*conn = nil
	}
	return nil, err
}
