package isthmus

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/gossip/replica"
	"github.com/isthmus-dns/isthmus/plugin/isthmus/locality"
)

var somePolicies = []locality.Rules{
	{},
	eighty,
	{Order: locality.OrderLatency, Affinity: locality.AffinityClient},
	{Distribute: []locality.Distribute{{From: "*", To: map[string]uint32{"us-west1/*": 50, "asia/*": 50}}}, Order: locality.OrderLatency},
	{Distribute: []locality.Distribute{{From: "*", To: map[string]uint32{"nowhere/*": 100}}}, Affinity: locality.AffinityClient},
}

// Whatever is up, down, silent or not ready, and whatever the policy says: an
// answer is not empty while a cluster has ready endpoints and an address, and
// names only clusters that have; so it is for the name of each such cluster.
func TestNeverEmpty(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 18))
	places := []string{"us-west1/us-west1-a", "us-west1/us-west1-b", "us-central1/a", "us-east1/b", "asia/c"}
	for round := range 400 {
		table, states, ready, six := discovery.NewTable(), map[string]replica.GatewayState{}, map[string]bool{}, false
		heard := map[string]time.Duration{}
		for i := range 1 + random.IntN(6) {
			name := fmt.Sprint("c", i)
			if i == 0 {
				name = "west"
			}
			where, err := discovery.ParseLocality(places[random.IntN(len(places))])
			require.NoError(t, err)
			var gateways []discovery.Gateway
			for k := range 1 + random.IntN(3) {
				addr, port := fmt.Sprintf("192.0.2.%d", 10*i+k+1), []uint16{443, 443, 8443}[random.IntN(3)]
				if i > 0 && random.IntN(4) == 0 {
					addr, six = fmt.Sprintf("2001:db8::%d", 10*i+k+1), true
				}
				g := gateway(port, addr)
				g.Weight = uint32(random.IntN(3))
				gateways = append(gateways, g)
				states[fmt.Sprintf("%s %s", name, strings.NewReplacer("2001:db8::", "[2001:db8::").Replace(addr)+map[bool]string{true: "]", false: ""}[strings.Contains(addr, "::")]+fmt.Sprint(":", port))] = []replica.GatewayState{
					down, down, unknown, up, upAfter(time.Duration(1+random.IntN(1000)) * time.Millisecond),
				}[random.IntN(5)]
			}
			total := uint32(random.IntN(4))
			n := uint32(random.IntN(int(total) + 1))
			ready[name] = n > 0
			heard[name] = []time.Duration{0, time.Minute, time.Hour}[random.IntN(3)]
			apply(t, table, cluster(name, where, gateways...), 1, service("n", "s", n, total, fmt.Sprintf("10.%d.0.1", i+1)))
		}
		table.SetLoaded()
		l := newLink(table)
		l.route(t, locality.Routing{Rules: somePolicies[random.IntN(len(somePolicies))]})
		l.probe(states)
		l.hear(heard)
		p := newPlugin(l)
		p.view.outlook.sweep(time.Now())
		what := fmt.Sprintf("round %d: %v", round, states)

		some := false
		for name, is := range ready {
			some = some || is
			got := rdata(t, p, name+".s.n.global.", dns.TypeA)
			if six { // a cluster may have one family only
				got = append(got, rdata(t, p, name+".s.n.global.", dns.TypeAAAA)...)
			}
			require.Equal(t, is, len(got) > 0, "%s: %s", name, what)
		}
		for range 5 {
			got := rdata(t, p, "s.n.global.", dns.TypeA)
			if six && len(got) == 0 {
				got = rdata(t, p, "s.n.global.", dns.TypeAAAA)
			}
			require.Equal(t, some, len(got) > 0, what)
			for _, qtype := range []uint16{dns.TypeSRV, dns.TypeSVCB, dns.TypeTXT, dns.TypeHTTPS} {
				m, _ := ask(t, p, question("s.n.global.", qtype))
				require.Equal(t, some && qtype != dns.TypeTXT && qtype != dns.TypeHTTPS, len(m.Answer) > 0, what)
			}
		}
		m, _ := ask(t, p, question("_why.s.n.global.", dns.TypeTXT))
		require.Len(t, m.Answer, len(ready))
	}
}

// Queries while everything changes: none is empty, and the race detector sees
// nothing.
func TestQueriesWhileEverythingChanges(t *testing.T) {
	l := region(t, "west us-west1/us-west1-a 1/4", "next us-west1/us-west1-b 2/2", "east us-east1/x 2/2")
	p := newPlugin(l)
	p.random = rand.Uint64
	stop := make(chan struct{})
	var asking sync.WaitGroup
	for _, qname := range []string{"s.n.global.", "east.s.n.global.", "_http._tcp.s.n.global.", "x.prefer._zone.s.n.global."} {
		asking.Go(func() {
			qtype := dns.TypeA
			if strings.HasPrefix(qname, "_") {
				qtype = dns.TypeSRV
			}
			for {
				select {
				case <-stop:
					return
				default:
				}
				if m, _ := ask(t, p, question(qname, qtype)); len(m.Answer) == 0 {
					t.Errorf("%s: empty", qname)
					return
				}
			}
		})
	}
	for i := range 300 {
		state := []replica.GatewayState{up, down, unknown, upAfter(time.Duration(i+1) * time.Millisecond)}[i%4]
		l.probe(map[string]replica.GatewayState{"east 192.0.2.3:443": state, "next 192.0.2.2:443": []replica.GatewayState{up, down}[i/4%2]})
		l.route(t, locality.Routing{Rules: somePolicies[i%len(somePolicies)]})
		p.view.outlook.sweep(time.Now())
		l.stale.Store(i%3 == 0)
	}
	close(stop)
	asking.Wait()
}
