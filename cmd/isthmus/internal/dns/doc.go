// Package dns runs CoreDNS inside this process: the plugins that an agent
// needs, the isthmus plugin among them, under the command's own life cycle
// instead of CoreDNS's (core/dnsserver's package comment says how that is
// meant). It knows nothing of clusters; the isthmus plugin gets all it needs
// from its stanza in the Corefile.
//
// CoreDNS and its server manager keep their state in package variables, so
// there is one server a process; [Run] refuses a second.
package dns
