package discovery

import (
	"errors"
	"fmt"
	"net/netip"
)

// Bounds on one record. They are generous for Kubernetes (whose own limits
// are named) and keep a hostile record small.
const (
	// MaxPorts: Kubernetes sets no limit; a Service with more than a few
	// dozen ports is unheard of.
	MaxPorts = 128
	// MaxAddresses limits each list of addresses. NodePort gateways stop at
	// 8 nodes; load balancers give a handful.
	MaxAddresses = 64
	// MaxEndpoints is what a record carries at most: a stable subset beyond.
	// An A answer with 250 addresses fills a 4,096-octet message.
	MaxEndpoints = 250
	// MaxZones: the largest cloud region has fewer than 10 zones.
	MaxZones = 64
	// MaxGateways limits gateways of a service or a set, and sets of a cluster.
	MaxGateways = 64
	// MaxAliases limits the alias hosts of one service.
	MaxAliases = 32
	// MaxCIDRs limits each list of a cluster's networks.
	MaxCIDRs = 64
	// MaxWeight keeps sums of weights far from overflow: 2^20 × 2^32 ready
	// endpoints × 1,000 clusters still fits 64 bits.
	MaxWeight = 1 << 20
	// MaxCount limits ready and total endpoints of one zone. Kubernetes
	// supports 150,000 Pods a cluster.
	MaxCount = 1 << 24
)

// Validate says why a record breaks the model's bounds; nil if it doesn't. A
// record from elsewhere must pass before it gets into a Table.
func (s *Service) Validate() error {
	if err := ValidLabel(s.Namespace); err != nil {
		return fmt.Errorf("namespace %q %w", clip(s.Namespace), err)
	}
	if err := ValidLabel(s.Name); err != nil {
		return fmt.Errorf("name %q %w", clip(s.Name), err)
	}
	if s.Kind < KindClusterIP || s.Kind > KindExternal {
		return fmt.Errorf("kind %d is unknown", s.Kind)
	}
	if len(s.Ports) > MaxPorts || len(s.ClusterIPs) > MaxAddresses || len(s.Endpoints) > MaxEndpoints ||
		len(s.Counts) > MaxZones || len(s.Gateways) > MaxGateways || len(s.Aliases) > MaxAliases {
		return errors.New("a list is too long")
	}
	if s.Weight > MaxWeight {
		return fmt.Errorf("weight %d is above %d", s.Weight, MaxWeight)
	}
	for _, p := range s.Ports {
		if err := p.validate(); err != nil {
			return err
		}
	}
	for _, c := range s.Counts {
		if c.Ready > c.Total || c.Total > MaxCount {
			return fmt.Errorf("zone count %d/%d is not in order", c.Ready, c.Total)
		}
		if err := validOptional(c.Zone, validLabelValue, "zone"); err != nil {
			return err
		}
	}
	for _, a := range s.Aliases {
		if err := validHostname(a); err != nil {
			return fmt.Errorf("alias %q: %w", clip(a), err)
		}
	}
	for _, e := range s.Endpoints {
		if err := e.validate(); err != nil {
			return err
		}
	}
	if s.GatewaySet != "" {
		if err := ValidLabel(s.GatewaySet); err != nil {
			return fmt.Errorf("gateway set %q %w", clip(s.GatewaySet), err)
		}
	}
	return errors.Join(validAddrs(s.ClusterIPs), validGateways(s.Gateways))
}

// Validate says why a cluster's record breaks the model's bounds.
func (c *Cluster) Validate() error {
	if err := ValidLabel(c.Name); err != nil {
		return fmt.Errorf("cluster name %q %w", clip(c.Name), err)
	}
	if len(c.UID) > 128 {
		return errors.New("uid is longer than 128 octets")
	}
	if err := validOptional(c.Network, validLabelValue, "network"); err != nil {
		return err
	}
	if err := c.Locality.Validate(); err != nil {
		return err
	}
	if len(c.PodCIDRs) > MaxCIDRs || len(c.ServiceCIDRs) > MaxCIDRs || len(c.GatewaySets) > MaxGateways {
		return errors.New("a list is too long")
	}
	for _, p := range append(append([]netip.Prefix(nil), c.PodCIDRs...), c.ServiceCIDRs...) {
		if !p.IsValid() {
			return errors.New("a CIDR is not valid")
		}
	}
	for _, set := range c.GatewaySets {
		if err := ValidLabel(set.Name); err != nil {
			return fmt.Errorf("gateway set %q %w", clip(set.Name), err)
		}
		if err := validGateways(set.Gateways); err != nil {
			return fmt.Errorf("gateway set %q: %w", set.Name, err)
		}
	}
	return nil
}

func (p Port) validate() error {
	if p.Name != "" {
		if err := ValidLabel(p.Name); err != nil {
			return fmt.Errorf("port name %q %w", clip(p.Name), err)
		}
	}
	if p.Protocol < TCP || p.Protocol > SCTP {
		return fmt.Errorf("port %d: protocol %d is unknown", p.Port, p.Protocol)
	}
	if p.Port == 0 {
		return errors.New("port 0")
	}
	return nil
}

func (e Endpoint) validate() error {
	if err := validAddrs([]netip.Addr{e.Addr}); err != nil {
		return err
	}
	if err := validOptional(e.Hostname, ValidLabel, "endpoint hostname"); err != nil {
		return err
	}
	return validOptional(e.Zone, validLabelValue, "zone")
}

func validGateways(gateways []Gateway) error {
	if len(gateways) > MaxGateways {
		return errors.New("a list is too long")
	}
	for _, g := range gateways {
		switch {
		case len(g.Addresses) > MaxAddresses:
			return errors.New("a list is too long")
		case (len(g.Addresses) == 0) == (g.Hostname == ""):
			return errors.New("a gateway has addresses or a hostname, one of the two")
		case g.Kind == 0: // greater ones are a later version's, and only shown
			return errors.New("gateway has no kind")
		case g.Check > CheckNone:
			return fmt.Errorf("gateway check %d is unknown", g.Check)
		case g.Weight > MaxWeight:
			return fmt.Errorf("weight %d is above %d", g.Weight, MaxWeight)
		}
		if err := validOptional(g.Hostname, validHostname, "gateway hostname"); err != nil {
			return err
		}
		if err := validOptional(g.Zone, validLabelValue, "zone"); err != nil {
			return err
		}
		if err := validAddrs(g.Addresses); err != nil {
			return err
		}
	}
	return nil
}

// validAddrs wants unicast addresses without a zone. An address that answers
// nobody (unspecified, multicast) would only hide a mistake from its owner.
func validAddrs(addrs []netip.Addr) error {
	for _, a := range addrs {
		if !a.IsValid() || a.IsUnspecified() || a.IsMulticast() || a.Zone() != "" || a.Is4In6() {
			return fmt.Errorf("address %v is not a plain unicast address", a)
		}
	}
	return nil
}

func validOptional(s string, valid func(string) error, what string) error {
	if s == "" {
		return nil
	}
	if err := valid(s); err != nil {
		return fmt.Errorf("%s %q: %w", what, clip(s), err)
	}
	return nil
}

// clip keeps hostile text out of logs.
func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "…"
	}
	return s
}
