package api

import (
	"net/netip"
	"time"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/discovery/probe"
	"github.com/isthmus-dns/isthmus/plugin/isthmus"
)

// State is what a watcher shows. Methods are called on many goroutines.
type State interface {
	Table() *discovery.Table
	Members() []Member
	// Leading tells whether this watcher publishes its cluster's part.
	Leading() bool
	// Ready tells whether agents may take the table for the whole: the own
	// cluster's part is there, and what peers knew at the start.
	Ready() bool
	// Heard is when a cluster was last heard of, with a monotonic reading; ok is
	// false when nothing has been heard of it since this watcher started.
	Heard(cluster string) (at time.Time, ok bool)
	// Explain tells which clusters of a service clients are sent to. Errors are
	// those of isthmus.Explainer.
	Explain(q isthmus.Question) (*isthmus.Explanation, error)
	Config() Config
	// Checks is what checks of other clusters' gateways found, by this watcher
	// or, while that one leads, by another of its cluster.
	Checks() *probe.Snapshot
	// Overlaps are clusters of one network that use the same addresses. What it
	// returns is not changed any more.
	Overlaps() *discovery.Overlaps
}

// About is what does not change while a watcher runs.
type About struct {
	Version    string    `json:"version"`
	Clusterset string    `json:"clusterset"`
	Cluster    string    `json:"cluster"`
	Watcher    string    `json:"watcher"` // its member name
	Started    time.Time `json:"started"`
}

// Member is a watcher in the pool.
type Member struct {
	Name    string `json:"name"` // "<watcher>.<cluster>"
	Cluster string `json:"cluster"`
	Address string `json:"address"` // host:port
	Self    bool   `json:"self,omitempty"`
}

// Status is the answer of /api/v1/status.
type Status struct {
	About
	Leading  bool      `json:"leading"`
	Ready    bool      `json:"ready"`
	Config   Config    `json:"config"`
	Clusters []Cluster `json:"clusters"` // by name
	Members  []Member  `json:"members"`  // by name
	// Overlaps are absent when there are none.
	Overlaps *Overlaps `json:"overlaps,omitempty"`
}

// Overlaps are pairs of clusters that claim one network and use the same
// addresses in it: clients of one may reach wrong Pods for the other's.
type Overlaps struct {
	Pairs  int       `json:"pairs"`  // how many there are
	Listed []Overlap `json:"listed"` // up to 100 of them, by network and clusters
}

// Overlap is one pair, with a range of addresses that both have.
type Overlap struct {
	Network string   `json:"network"`
	Claims  [2]Claim `json:"claims"` // by cluster
}

// Claim is a range of addresses that a cluster uses.
type Claim struct {
	Cluster string       `json:"cluster"`
	Use     string       `json:"use"` // pods or services
	Prefix  netip.Prefix `json:"prefix"`
}

// Config is what is in force of a watcher's configuration file.
type Config struct {
	// Loaded is when what is in force was read.
	Loaded time.Time `json:"loaded"`
	// Errors say why the file as it is now is not in force, a mistake each with
	// file and line.
	Errors []string `json:"errors,omitempty"`
	// Restart are fields that differ from what is in force until a restart.
	Restart []string `json:"restart,omitempty"`
	// Routing and Health are in brief, for people.
	Routing string `json:"routing"`
	Health  string `json:"health"`
}

// Cluster is a cluster of the table.
type Cluster struct {
	Name     string `json:"name"`
	UID      string `json:"uid"`
	Network  string `json:"network,omitempty"`
	Locality string `json:"locality,omitempty"`
	Epoch    uint64 `json:"epoch"`
	Seq      uint64 `json:"seq"`
	// AgeSeconds is the time since the cluster was last heard of; absent when
	// nothing has been heard of it since this watcher started.
	AgeSeconds *int64 `json:"ageSeconds,omitempty"`
	Services   int    `json:"services"`
	Gateways   int    `json:"gateways"` // in all its sets
	// Checked is how they do; absent of the own cluster, whose gateways are
	// checked by others, and of one without any.
	Checked *Checked `json:"checked,omitempty"`
}

// Checked counts the gateways of a cluster's sets.
type Checked struct {
	Up      int `json:"up"`
	Down    int `json:"down"`
	Unknown int `json:"unknown"` // answered with, as if they were up
	// RTTSeconds is the round-trip time to the nearest one that is up; absent
	// when none was measured.
	RTTSeconds float64 `json:"rttSeconds,omitempty"`
}

// Checks is the answer of /api/v1/gateways.
type Checks struct {
	Gateways []Check `json:"gateways"` // by cluster, host name, address and port
}

// Check is an address of another cluster's gateway.
type Check struct {
	Cluster string         `json:"cluster"`
	Host    string         `json:"host,omitempty"` // the name that led to the address
	Address netip.AddrPort `json:"address"`
	Check   string         `json:"check"`  // tcp, tls or http
	Status  string         `json:"status"` // up, down or unknown
	// Since is when this watcher learned the status; absent while unknown.
	Since      *time.Time `json:"since,omitempty"`
	RTTSeconds float64    `json:"rttSeconds,omitempty"`
	// Error says why the last check failed; only the watcher that checks knows.
	Error string `json:"error,omitempty"`
}

// Services is the answer of /api/v1/services: a page in the order of
// namespace and name.
type Services struct {
	Services []Service `json:"services"`
	// Next continues after this page, as the parameter "after"; empty on the
	// last one.
	Next string `json:"next,omitempty"`
}

// Service is a name with the clusters that export it.
type Service struct {
	Namespace string     `json:"namespace"`
	Name      string     `json:"name"`
	Clusters  []Exported `json:"clusters"` // by name
}

// Exported is a service in one cluster.
type Exported struct {
	Cluster    string       `json:"cluster"`
	Kind       string       `json:"kind"` // clusterip, headless or external
	Ready      uint32       `json:"ready"`
	Total      uint32       `json:"total"`
	Weight     uint32       `json:"weight"`
	ClusterIPs []netip.Addr `json:"clusterIPs,omitempty"`
	Ports      []Port       `json:"ports,omitempty"`
	Gateways   []Gateway    `json:"gateways,omitempty"`
	Aliases    []string     `json:"aliases,omitempty"`
}

// Port is a service port; Gateway is its port at the gateway, 0 if the
// gateway or the service's own port decides.
type Port struct {
	Name     string `json:"name,omitempty"`
	Protocol string `json:"protocol"`
	Port     uint16 `json:"port"`
	Gateway  uint16 `json:"gateway,omitempty"`
}

// Gateway is where other clusters reach a service.
type Gateway struct {
	Addresses []netip.Addr `json:"addresses,omitempty"`
	Hostname  string       `json:"hostname,omitempty"`
	Port      uint16       `json:"port,omitempty"`
	Kind      string       `json:"kind"`
}
