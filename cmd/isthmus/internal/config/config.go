package config

import (
	"net/netip"
	"time"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/discovery/export"
	"github.com/isthmus-dns/isthmus/discovery/probe"
	"github.com/isthmus-dns/isthmus/gossip/replica"
	"github.com/isthmus-dns/isthmus/plugin/isthmus/locality"
)

// Defaults of fields that may be left out.
const (
	// DefaultGossipPort is the one TLS port of a cluster; memberlist's own
	// choice, so firewall rules of people who know Consul or Serf fit.
	DefaultGossipPort = 7946
	// DefaultListen takes gossip and agents on all addresses of the Pod.
	DefaultListen = "0.0.0.0:7946"
	// DefaultHTTP stays on loopback: metrics and the API need no credentials.
	DefaultHTTP = "127.0.0.1:8080"
	// DefaultState is where a watcher keeps what must outlive it.
	DefaultState = "/var/lib/isthmus"
)

// Config is a valid watcher.yaml. File names in it are absolute or relative to
// the working directory: what the file gives relative to itself is resolved.
type Config struct {
	// Clusterset is the name of all clusters that share names and a trust
	// root: a lower-case DNS name. Required.
	Clusterset string
	// Cluster is this cluster's name in the clusterset: a DNS label.
	// Required.
	Cluster string
	// Network names the network whose clusters reach each other's Pods;
	// empty shares it with nobody.
	Network string
	// Locality of this cluster; the zero value means that the source finds
	// it in the nodes' topology labels.
	Locality discovery.Locality
	// Source of this cluster's services. Required.
	Source Source
	// Gateways are the cluster's gateway sets; several entries of one name
	// make one set. The set "default" serves the services that name none.
	Gateways []Gateway
	// Gossip is how this watcher meets those of other clusters.
	Gossip Gossip
	// TLS is the watcher's identity. Required unless Insecure.
	TLS TLS
	// Insecure runs gossip and the agents' stream in plain text. False by
	// default.
	Insecure bool
	// Import is what is accepted of other clusters: everything by default.
	Import replica.Import
	// Forget is how long another cluster may be silent before it is dropped;
	// replica.DefaultForget if left out.
	Forget time.Duration
	// Routing is the cluster's routing policy, which its agents choose by: by
	// locality, without affinity, by default. It is valid, and replica.View
	// takes its encoded form.
	Routing locality.Routing
	// Health is how gateways of other clusters are checked, complete and valid;
	// probe.DefaultHealth where it is left out.
	Health probe.Health
	// State is a folder for what must outlive the process. DefaultState if
	// left out.
	State string
	// HTTP is where metrics, health and the API are served. DefaultHTTP if
	// left out.
	HTTP string

	file    string
	lines   map[string]int
	entries []export.SetEntry // of Gateways
}

// Export is which of a source's services are published.
type Export string

// The choices.
const (
	// ExportDeclared publishes what a ServiceExport or an annotation names:
	// the default.
	ExportDeclared Export = "declared"
	// ExportAll publishes every Service that is not told otherwise.
	ExportAll Export = "all"
)

// Source is where this cluster's services come from; exactly one of
// Kubernetes and Manifests is set.
type Source struct {
	Kubernetes *KubernetesSource
	Manifests  *ManifestSource
	// Export is ExportDeclared if left out.
	Export Export
	// Nodes is which addresses of nodes are gateways of NodePort services:
	// export.AddressesExternal, export.AddressesInternal, or "" for external
	// ones where a node has any, else internal ones.
	Nodes string
}

// KubernetesSource is an API server.
type KubernetesSource struct {
	// Kubeconfig is a file; empty uses the Pod's service account.
	Kubeconfig string
	// Context is one of the kubeconfig's contexts; empty is its current one.
	Context string
	// Namespace holds the Lease and the state of the watchers; empty is the
	// Pod's own namespace.
	Namespace string
	// Zones are where hosts of ServiceEntries are names of services, lower case
	// and without a dot at the end; none is export.DefaultZone.
	Zones []string
}

// ManifestSource is a folder of Kubernetes YAML.
type ManifestSource struct {
	// Dir is the folder. Required.
	Dir string
}

// Gateway is an entry of one of the cluster's gateway sets. Exactly one of
// Addresses, Hostname, Service, Ingress and Gateway is set.
type Gateway struct {
	// Name is the set's; discovery.DefaultGatewaySet if left out.
	Name      string
	Addresses []netip.Addr
	// Hostname is resolved by those who use the gateway.
	Hostname string
	// Service, Ingress and Gateway name an object of the source whose addresses
	// are taken, whatever they are at the time.
	Service, Ingress, Gateway export.Object
	// Port is the gateway's; 0, the default, means that of the object if it has
	// one only, else each service's own port. Of a Service of type NodePort it
	// is the port whose node port serves.
	Port uint16
	// Zone is the availability zone that the gateway stands in, if in one.
	Zone string
	// Weight is relative to the set's other gateways; 1 if left out.
	Weight uint32
	// Check is how other clusters test it; discovery.CheckTCP if left out.
	Check discovery.Check
}

// Gossip is a watcher's place among the others.
type Gossip struct {
	// Listen is the address of the TLS port; DefaultListen if left out.
	Listen string
	// Advertise is the host:port that other clusters reach it by. Left out, it
	// is Listen if that names a particular address; else it is empty, and a
	// watcher can't start.
	Advertise string
	// Join lists host:port of watchers of other clusters. Names are resolved
	// anew at each attempt. DefaultGossipPort if an entry names no port.
	Join []string
	// Siblings lists host:port of this cluster's own watchers, this one may
	// be among them; as a rule one headless Service, which is resolved anew
	// all the time. Watchers that advertise one address for all of them need
	// it: a connection that reaches another one than it means is handed on.
	// They are joined too. DefaultGossipPort if an entry names no port.
	Siblings []string
}

// TLS names PEM files.
type TLS struct {
	// Cert and Key are the watcher's own, CA the bundle of accepted roots.
	Cert, Key, CA string
}

// Entries are the gateways in the form that sources make sets of, in the order
// of the file. The result is shared: don't change it.
func (c *Config) Entries() []export.SetEntry { return c.entries }

func entriesOf(gateways []Gateway) []export.SetEntry {
	var out []export.SetEntry
	for _, g := range gateways {
		e := export.SetEntry{Set: g.Name, Gateway: discovery.Gateway{
			Addresses: g.Addresses, Hostname: g.Hostname, Port: g.Port, Kind: discovery.GatewayStatic,
			Zone: g.Zone, Weight: g.Weight, Check: g.Check,
		}}
		switch none := (export.Object{}); {
		case g.Service != none:
			e.From, e.Object = export.FromService, g.Service
		case g.Ingress != none:
			e.From, e.Object = export.FromIngress, g.Ingress
		case g.Gateway != none:
			e.From, e.Object = export.FromGateway, g.Gateway
		}
		out = append(out, e)
	}
	return out
}

// GatewaySets are the gateways in the model's form, sets and gateways in the
// order of the file, as far as their addresses stand in it.
func (c *Config) GatewaySets() []discovery.GatewaySet {
	sets, _ := export.GatewaySets(c.entries, export.SetInput{})
	return sets
}

// File is the name that the configuration was read from.
func (c *Config) File() string { return c.file }
