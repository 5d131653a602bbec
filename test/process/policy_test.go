package process

import (
	"testing"
	"time"

	"github.com/isthmus-dns/isthmus/test/cluster"
)

// TestPolicy: a changed routing policy is what west's agent answers by, for the
// services that it names.
func TestPolicy(t *testing.T) {
	s := cluster.New(t, "west", "central", "east")
	west, central, east := s.Clusters[0], s.Clusters[1], s.Clusters[2]
	for _, c := range []*cluster.Cluster{central, east} {
		c.Export(cluster.Service{Namespace: "shop", Name: "cart", Ready: 2})
		c.Export(cluster.Service{Namespace: "shop", Name: "pay", Ready: 2})
	}
	s.Start()
	const cart, pay = "cart.shop.global.", "pay.shop.global."
	const either = "3 2 8080 central.cart.shop.global. 3 2 8080 east.cart.shop.global."
	west.Answers(cart, "SRV", either)

	begun := time.Now()
	back := west.Rewrite("gossip:", `routing:
  failover: [{from: region-west, to: [region-east, region-central]}]
  services: [{match: "*/pay", failover: [{from: region-west, to: [region-central]}]}]
gossip:`)
	west.Answers(cart, "A", east.Gateway)
	west.Answers(cart, "SRV", "3 2 8080 east.cart.shop.global. 4 2 8080 central.cart.shop.global.")
	t.Logf("%s from the file to the answers", time.Since(begun).Round(time.Millisecond))
	west.Answers(pay, "SRV", "3 2 8080 central.pay.shop.global. 4 2 8080 east.pay.shop.global.")
	central.Answers(cart, "A", central.ClusterIP("cart"))

	// An agent has the policy from disk, too.
	west.Watcher.Stop()
	west.Agent.Stop()
	west.Agent.Start()
	west.Answers(cart, "SRV", "3 2 8080 east.cart.shop.global. 4 2 8080 central.cart.shop.global.")

	west.Watcher.Start()
	back()
	west.Answers(cart, "SRV", either)
}
