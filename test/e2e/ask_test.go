package e2e

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// patience is for a machine that other tests share; what is waited for takes
// tens of milliseconds.
const patience = 20 * time.Second

// What an agent may say instead of addresses. Both come with the SOA record.
const (
	nodata   = "NODATA"
	nxdomain = "NXDOMAIN"
)

// ask sends one query to the site's agent over UDP.
func (s *site) ask(name string, qtype uint16) (*dns.Msg, error) {
	q := new(dns.Msg)
	q.SetQuestion(name, qtype)
	q.SetEdns0(1232, false)
	client := &dns.Client{Timeout: 2 * time.Second} // a stub resolver waits 5 s
	r, _, err := client.Exchange(q, s.dns)
	return r, err
}

// answer is what the agent says, in one line: the sorted data of the records
// of the type, NODATA or NXDOMAIN, or what went wrong.
func (s *site) answer(name string, qtype uint16) string {
	r, err := s.ask(name, qtype)
	switch {
	case err != nil:
		return err.Error()
	case !r.Authoritative:
		return "not authoritative"
	case len(r.Answer) == 0 && !hasSOA(r):
		return dns.RcodeToString[r.Rcode] + " without SOA"
	case r.Rcode == dns.RcodeNameError:
		return nxdomain
	case r.Rcode != dns.RcodeSuccess:
		return dns.RcodeToString[r.Rcode]
	case len(r.Answer) == 0:
		return nodata
	}
	var data []string
	for _, rr := range r.Answer {
		data = append(data, datum(rr))
	}
	slices.Sort(data)
	return strings.Join(data, " ")
}

func hasSOA(r *dns.Msg) bool {
	return slices.ContainsFunc(r.Ns, func(rr dns.RR) bool { return rr.Header().Rrtype == dns.TypeSOA })
}

// datum is a record's data: an address, "target:port" or text.
func datum(rr dns.RR) string {
	switch rr := rr.(type) {
	case *dns.A:
		return rr.A.String()
	case *dns.SRV:
		return fmt.Sprintf("%s:%d", rr.Target, rr.Port)
	case *dns.TXT:
		return strings.Join(rr.Txt, "; ")
	}
	return rr.String()
}

// answers are what the agents of west, central and east shall say.
type answers [3]string

// await asks all three agents until they say what they shall.
func (cs *clusterset) await(t testing.TB, name string, qtype uint16, want answers, within ...time.Duration) {
	t.Helper()
	limit := append(within, patience)[0]
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		for i, s := range cs.sites {
			assert.Equal(c, want[i], s.answer(name, qtype), "%s of %s, asked in %s", dns.TypeToString[qtype], name, s.name)
		}
	}, limit, 10*time.Millisecond)
}

// witness asks an agent for the addresses of a name again and again, and keeps
// what it should not have heard.
type witness struct {
	site  *site
	name  string
	want  []string
	stop  chan struct{}
	ended sync.WaitGroup

	asked int
	seen  int // the index in want of the last right answer
	wrong []string
}

// watch begins to ask all three agents. Right are the wanted answers of each
// one in their order: what came back after a later one was there is wrong, and
// so is no answer at all.
func (cs *clusterset) watch(t *testing.T, name string, want ...answers) (end func()) {
	t.Helper()
	var all []*witness
	for i, s := range cs.sites {
		w := &witness{site: s, name: name, stop: make(chan struct{})}
		for _, step := range want {
			w.want = append(w.want, step[i])
		}
		w.ended.Go(w.run)
		all = append(all, w)
	}
	end = sync.OnceFunc(func() {
		for _, w := range all {
			close(w.stop)
			w.ended.Wait()
			t.Logf("%s, asked in %s: %d of %d answers wrong", name, w.site.name, len(w.wrong), w.asked)
			assert.Empty(t, w.wrong[:min(len(w.wrong), 10)], "%s, asked in %s", name, w.site.name)
			assert.Greater(t, w.asked, 50, "the witness hardly looked")
		}
	})
	t.Cleanup(end)
	return end
}

func (w *witness) run() {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-w.stop:
			return
		case <-tick.C:
		}
		got := w.site.answer(w.name, dns.TypeA)
		w.asked++
		at := slices.Index(w.want[w.seen:], got)
		if at < 0 {
			w.wrong = append(w.wrong, got)
			continue
		}
		w.seen += at
	}
}
