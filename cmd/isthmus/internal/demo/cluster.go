package demo

import "fmt"

// cluster is one of the three. All addresses lie on loopback; every address of
// 127.0.0.0/8 is there on Linux without setting anything up.
type cluster struct {
	name   string
	dns    int // port of its agent
	gossip int // port of its watcher
	http   int // port of its watcher's metrics and API
	net    int // its addresses are 127.<net>.x.y
}

var clusters = []cluster{
	{name: "west", dns: 1053, gossip: 7946, http: 8081, net: 1},
	{name: "central", dns: 1054, gossip: 7947, http: 8082, net: 2},
	{name: "east", dns: 1055, gossip: 7948, http: 8083, net: 3},
}

// gateway is the address that other clusters reach it by.
func (c cluster) gateway() string { return fmt.Sprintf("127.%d.0.10", c.net) }

// addresses are where its HTTP servers answer: the gateway, the Services'
// cluster IPs and the Pods of the manifests. 30880 is apollo's NodePort.
func (c cluster) addresses() []string {
	all := []string{c.gateway() + ":8080"}
	for host := 1; host <= 3; host++ {
		all = append(all, fmt.Sprintf("127.%d.1.%d:8080", c.net, host))
	}
	for _, pod := range []int{11, 12, 13, 21, 22, 23, 31, 41, 42} {
		all = append(all, fmt.Sprintf("127.%d.2.%d:8080", c.net, pod))
	}
	if c.name == "east" {
		all = append(all, c.gateway()+":30880")
	}
	return all
}
