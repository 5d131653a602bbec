// Package process tests the program as its operators meet it: real watchers
// and agents that are stopped, killed, started with less than they had, fed
// with mistakes, and approached by strangers.
package process

import (
	"testing"
	"time"

	"github.com/isthmus-dns/isthmus/test/cluster"
)

func TestMain(m *testing.M) { cluster.Main(m) }

// everywhere is exported by all clusters, eastOnly by east.
var (
	everywhere = cluster.Service{Namespace: "shop", Name: "user", Ready: 2}
	eastOnly   = cluster.Service{Namespace: "shop", Name: "stock", Ready: 3}
)

// clusters starts clusters that all export everywhere, and east eastOnly too.
func clusters(t *testing.T, names ...string) *cluster.Set {
	t.Helper()
	s := cluster.New(t, names...)
	for _, c := range s.Clusters {
		c.Export(everywhere)
		if c.Name == "east" {
			c.Export(eastOnly)
		}
	}
	s.Start()
	return s
}

// expected are questions to west and all right answers as long as nobody
// changes a service.
func expected(s *cluster.Set) []cluster.Expect {
	west := s.Clusters[0]
	ask := func(name, rrtype string, right ...string) cluster.Expect {
		return cluster.Expect{Query: cluster.Query{Name: name, Type: rrtype}, Right: right}
	}
	list := []cluster.Expect{
		ask("user.shop.global.", "A", west.ClusterIP("user")),
		ask("user.shop.global.", "AAAA", "NODATA"),
		ask("shop.global.", "A", "NODATA"),
		ask("nothing.shop.global.", "A", "NXDOMAIN"),
		{Query: cluster.Query{Name: "user.shop.global.", Type: "A", Plain: true}, Right: []string{west.ClusterIP("user")}},
	}
	for _, c := range s.Clusters[1:] {
		list = append(list,
			ask(c.Name+".user.shop.global.", "A", c.Gateway),
			ask(c.Name+".nothing.shop.global.", "A", "NXDOMAIN"))
		if c.Name == "east" {
			list = append(list,
				ask("stock.shop.global.", "A", c.Gateway),
				ask("east.stock.shop.global.", "A", c.Gateway),
				ask("stock.shop.global.", "SRV", "3 3 8080 east.stock.shop.global."),
				ask("west.stock.shop.global.", "A", "NXDOMAIN"))
		}
	}
	return list
}

// patience bounds waits for processes and sockets; pause is between two looks.
const (
	patience = 30 * time.Second
	pause    = 10 * time.Millisecond
)
