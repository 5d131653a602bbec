package cluster

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"
)

// Answer is what a DNS server said.
type Answer struct {
	Rcode string // "NOERROR", …
	// Data are the answer section's records without their headers, sorted: an
	// address, or a TXT record's text in quotes.
	Data []string
	// Stale is Extended DNS Error 3 or 19; EDNS whether there was an OPT record
	// at all.
	Stale, EDNS bool
}

// String is the answer in the form that [Cluster.Answers] and [Loop] compare:
// the data separated by spaces, or the rcode when there is none, with NODATA
// for an empty NOERROR.
func (a Answer) String() string {
	switch {
	case a.Rcode != "NOERROR":
		return a.Rcode
	case len(a.Data) == 0:
		return "NODATA"
	}
	return strings.Join(a.Data, " ")
}

// Query is a question; Plain asks without EDNS.
type Query struct {
	Name, Type string
	Plain      bool
}

// askTimeout is what stub resolvers give a server before they ask the next
// one (resolv.conf's default is 5 s).
const askTimeout = 2 * time.Second

// Ask asks the cluster's agent over UDP once. The error is a lost answer.
func (c *Cluster) Ask(q Query) (Answer, error) {
	conn, err := dns.DialTimeout("udp", c.DNS, askTimeout)
	if err != nil {
		return Answer{}, err
	}
	defer conn.Close()
	return Exchange(conn, q)
}

// Exchange asks over an open connection.
func Exchange(conn *dns.Conn, q Query) (Answer, error) {
	m := new(dns.Msg)
	m.SetQuestion(dns.Fqdn(q.Name), dns.StringToType[q.Type])
	if !q.Plain {
		m.SetEdns0(1232, false)
	}
	client := dns.Client{Timeout: askTimeout, UDPSize: 1232}
	r, _, err := client.ExchangeWithConn(m, conn)
	if err != nil {
		return Answer{}, err
	}
	return read(r), nil
}

func read(r *dns.Msg) Answer {
	a := Answer{Rcode: dns.RcodeToString[r.Rcode]}
	for _, rr := range r.Answer {
		a.Data = append(a.Data, strings.TrimPrefix(rr.String(), rr.Header().String()))
	}
	slices.Sort(a.Data)
	opt := r.IsEdns0()
	a.EDNS = opt != nil
	if opt != nil {
		for _, o := range opt.Option {
			if ede, ok := o.(*dns.EDNS0_EDE); ok {
				a.Stale = ede.InfoCode == dns.ExtendedErrorCodeStaleAnswer || ede.InfoCode == dns.ExtendedErrorCodeStaleNXDOMAINAnswer
			}
		}
	}
	return a
}

// Answers waits until the agent answers a question with one of the given
// answers, in [Answer.String]'s form.
func (c *Cluster) Answers(name, rrtype string, want ...string) {
	c.t.Helper()
	var last string
	if !eventually(func() bool {
		a, err := c.Ask(Query{Name: name, Type: rrtype})
		if last = a.String(); err != nil {
			last = err.Error()
		}
		return err == nil && slices.Contains(want, last)
	}) {
		require.FailNow(c.t, fmt.Sprintf("%s answers %s %s with %s", c.Label, name, rrtype, last), "want %q", want)
	}
}

// AgentReady tells what the agent's ready plugin says.
func (c *Cluster) AgentReady() bool { return c.ok("http://" + c.Ready + "/ready") }

// WatcherReady tells what the watcher's readiness probe gets.
func (c *Cluster) WatcherReady() bool { return c.ok("http://" + c.HTTP + "/readyz") }

func (c *Cluster) ok(url string) bool {
	r, err := get(c.t.Context(), url)
	if err != nil {
		return false
	}
	defer r.Body.Close()
	return r.StatusCode == http.StatusOK
}

// Metric is the sum of a watcher's samples of a name that carry the given
// labels, as in Metric("x_total", "reason", "role"). It is an error to ask a
// watcher that does not answer; a metric that is not there is 0.
func (c *Cluster) Metric(name string, labels ...string) float64 {
	c.t.Helper()
	r, err := get(c.t.Context(), "http://"+c.HTTP+"/metrics")
	require.NoError(c.t, err)
	defer r.Body.Close()
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(r.Body)
	require.NoError(c.t, err)
	sum := 0.0
	for _, m := range families[name].GetMetric() {
		if carries(m, labels) {
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return sum
}

func carries(m *dto.Metric, labels []string) bool {
	for i := 0; i+1 < len(labels); i += 2 {
		if !slices.ContainsFunc(m.GetLabel(), func(l *dto.LabelPair) bool {
			return l.GetName() == labels[i] && l.GetValue() == labels[i+1]
		}) {
			return false
		}
	}
	return true
}

// Reaches waits until a metric has at least the given value.
func (c *Cluster) Reaches(least float64, name string, labels ...string) {
	c.t.Helper()
	require.True(c.t, eventually(func() bool { return c.Metric(name, labels...) >= least }),
		"%s of %s %v stays below %v", name, c.Label, labels, least)
}

// Epoch is the last that the watcher's state folder holds.
func (c *Cluster) Epoch() uint64 {
	c.t.Helper()
	text, err := os.ReadFile(c.State() + "/epoch")
	require.NoError(c.t, err)
	n, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
	require.NoError(c.t, err)
	return n
}

func get(ctx context.Context, url string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	client := http.Client{Timeout: patience}
	return client.Do(req)
}

// eventually polls from this goroutine, unlike testify's, so that what is
// polled may fail the test.
func eventually(ok func() bool) bool {
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		if ok() {
			return true
		}
		if time.Now().After(deadline) {
			return false
		}
	}
}

// Members waits until the watcher counts n members in the gossip pool, itself
// included. One that said no farewell takes some seconds to be missed.
func (c *Cluster) Members(n int) {
	c.t.Helper()
	require.True(c.t, eventually(func() bool { return c.Metric("isthmus_gossip_members") == float64(n) }),
		"%s does not see %d members", c.Label, n)
}
