package config

import "reflect"

// Change is in which fields two configurations differ, in the order of the
// file's reference.
type Change struct {
	// Live can change while a watcher runs.
	Live []string
	// Restart can't: ports, identity and what the cluster is known by.
	Restart []string
}

// part is a field of the file as far as a change of it is of one kind.
type part struct {
	name  string
	live  bool
	value func(c *Config) any
}

var parts = []part{
	{"clusterset", false, func(c *Config) any { return c.Clusterset }},
	{"cluster", false, func(c *Config) any { return c.Cluster }},
	{"network", false, func(c *Config) any { return c.Network }}, // the source exports endpoints by it
	{"locality", true, func(c *Config) any { return c.Locality }},
	{"source", false, func(c *Config) any { return c.Source }},
	{"gateways", true, func(c *Config) any { return c.Gateways }},
	{"gossip.listen", false, func(c *Config) any { return c.Gossip.Listen }},
	{"gossip.advertise", false, func(c *Config) any { return c.Gossip.Advertise }},
	{"gossip.join", true, func(c *Config) any { return c.Gossip.Join }},
	{"gossip.siblings", false, func(c *Config) any { return c.Gossip.Siblings }},
	{"tls", false, func(c *Config) any { return c.TLS }}, // the files' content is followed
	{"insecure", false, func(c *Config) any { return c.Insecure }},
	{"import", true, func(c *Config) any { return c.Import }},
	{"forget", false, func(c *Config) any { return c.Forget }},
	{"routing", true, func(c *Config) any { return c.Routing }},
	{"health", true, func(c *Config) any { return c.Health }},
	{"state", false, func(c *Config) any { return c.State }},
	{"http", false, func(c *Config) any { return c.HTTP }},
}

// ChangeTo says what differs in another configuration.
func (c *Config) ChangeTo(next *Config) Change {
	var change Change
	for _, p := range parts {
		switch {
		case reflect.DeepEqual(p.value(c), p.value(next)):
		case p.live:
			change.Live = append(change.Live, p.name)
		default:
			change.Restart = append(change.Restart, p.name)
		}
	}
	return change
}

// WithLive is the configuration with another's fields that can change while a
// watcher runs; all others stay. It is a new one.
func (c *Config) WithLive(next *Config) *Config {
	now := *c
	now.Locality, now.Gossip.Join = next.Locality, next.Gossip.Join
	now.Gateways, now.entries = next.Gateways, next.entries
	now.Import, now.Routing, now.Health = next.Import, next.Routing, next.Health
	return &now
}
