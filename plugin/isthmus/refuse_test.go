package isthmus

import (
	"net/netip"
	"testing"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/discovery"
)

// Another cluster must not lead our clients to their own machine or to the
// cloud's metadata service.
func TestOtherClustersUnfitAddresses(t *testing.T) {
	unfit := []string{
		"127.0.0.1", "127.3.0.10", "::1", "169.254.169.254", "169.254.20.10", "fe80::1",
		"fd00:ec2::254", "fd20:ce::254", "168.63.129.16", "100.100.100.200",
	}
	evil := func(kind discovery.Kind, gateways ...discovery.Gateway) *discovery.Service {
		s := service("shop", "evil", 1, 1)
		s.Kind, s.Gateways = kind, gateways
		s.Endpoints = []discovery.Endpoint{}
		for _, a := range unfit {
			s.Endpoints = append(s.Endpoints, discovery.Endpoint{Addr: netip.MustParseAddr(a), Hostname: "pod", Ready: true})
		}
		return s
	}
	tests := []struct {
		name    string
		network string
		own     string // gateway of the viewer's cluster
		service *discovery.Service
		want    string // of all A and AAAA records; "" for none
		why     string
	}{
		{
			name: "gateways", own: "192.0.2.1", service: evil(discovery.KindClusterIP, gateway(443, unfit...)),
			why: `evil: out weight=0 ready=1/1 gateway=- up=unknown rtt=- age=unknown rule="address is loopback, link-local or a metadata service"`,
		},
		{
			name: "the fit ones stay", own: "192.0.2.1", want: "192.0.2.66",
			service: evil(discovery.KindClusterIP, gateway(443, unfit...), gateway(444, "192.0.2.66")),
			why:     `evil: in tier=3(other) weight=1 share=100% ready=1/1 gateway=192.0.2.66 up=unknown rtt=- age=unknown rule="lowest tier with candidates"`,
		},
		{
			name: "host names", own: "192.0.2.1", service: evil(discovery.KindClusterIP, named("evil.example")),
			why: `evil: out weight=0 ready=1/1 gateway=- up=unknown rtt=- age=unknown rule="address is loopback, link-local or a metadata service"`,
		},
		{
			name: "endpoints of a shared network", own: "192.0.2.1", network: "flat", service: evil(discovery.KindHeadless),
			why: `evil: out weight=0 ready=1/1 gateway=- up=- rtt=- age=unknown rule="no gateway"`,
		},
		{
			name: "loopback for a cluster that stands there itself", own: "127.1.0.10", want: "127.3.0.10",
			service: evil(discovery.KindClusterIP, gateway(443, "127.3.0.10", "169.254.169.254")),
			why:     `evil: in tier=3(other) weight=1 share=100% ready=1/1 gateway=127.3.0.10 up=unknown rtt=- age=unknown rule="lowest tier with candidates"`,
		},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			table := discovery.NewTable()
			apply(t, table, cluster("west", westLocality, gateway(443, tc.own)), 1)
			record := cluster("evil", eastLocality)
			record.Network = tc.network
			apply(t, table, record, 1, tc.service)
			table.SetLoaded()
			l := newLink(table)
			l.view.Store(&View{Cluster: "west", Network: tc.network})
			p := newPlugin(l)
			p.view.names.names["evil.example"] = &resolved{all: addrs(unfit...), known: true}

			names := []string{"evil.shop.global.", "evil.evil.shop.global.", "pod.evil.evil.shop.global."}
			if tc.service.Kind != discovery.KindHeadless {
				names = names[:2]
			}
			for _, name := range names {
				for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeSRV} {
					m, rcode := ask(t, p, question(name, qtype))
					require.Equal(t, dns.RcodeSuccess, rcode, name)
					for _, rr := range append(m.Answer, m.Extra...) {
						switch rr := rr.(type) {
						case *dns.A:
							require.Equal(t, tc.want, rr.A.String(), name)
						case *dns.AAAA:
							require.Equal(t, tc.want, rr.AAAA.String(), name)
						}
					}
					require.Equal(t, qtype == dns.TypeAAAA || tc.want == "", len(m.Answer) == 0, name)
				}
			}
			m, _ := ask(t, p, question("_why.evil.shop.global.", dns.TypeTXT))
			require.Equal(t, tc.why, m.Answer[0].(*dns.TXT).Txt[0])
		})
	}
}

// Our own cluster's addresses are its own business: it may run on loopback.
func TestOwnAddressesAreFit(t *testing.T) {
	table := discovery.NewTable()
	apply(t, table, cluster("west", westLocality), 1, service("shop", "own", 1, 1, "127.1.1.1"))
	table.SetLoaded()
	m, _ := ask(t, newPlugin(newLink(table)), question("own.shop.global.", dns.TypeA))
	require.Equal(t, "127.1.1.1", m.Answer[0].(*dns.A).A.String())
}
