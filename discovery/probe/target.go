package probe

import (
	"cmp"
	"errors"
	"net/netip"
	"strings"

	"github.com/isthmus-dns/isthmus/discovery"
)

// Target is one thing to check: an address, or a host name that stands for
// all of its addresses. All fields but Health say what it is: targets that
// agree in them are one.
type Target struct {
	// Cluster is whose gateway it is; limits are shared out by it. For
	// external endpoints it is whatever groups them for their owner.
	Cluster string
	// Key is the caller's own, to know an external endpoint by. Gateways have
	// none, or services that share one would have it checked once each.
	Key string
	// Addr is where to connect. The zero Addr has Host looked up; then there
	// is one result for each address, with Host and Addr both set.
	Addr netip.Addr
	Port uint16
	// Host is the server name of TLS and the Host of HTTP, lower case and
	// without the trailing dot. Without it TLS sends no server name.
	Host  string
	Check discovery.Check // 0 is CheckTCP; CheckNone is never checked
	// Path is what HTTP asks for, with its query; "" is "/".
	Path string
	// Secure speaks HTTP inside TLS.
	Secure bool
	// Verify has the certificate verified, of CheckTLS and of Secure: its
	// chain to Policy.Roots, its dates, and Host (or Addr) among its names.
	// Without it any certificate will do, also one that expired.
	Verify bool
	Health Health
}

// identity is the target without what doesn't tell it from others, and with
// defaults spelled out.
func (t Target) identity() Target {
	t.Health = Health{}
	t.Addr = t.Addr.Unmap()
	if t.Check == 0 {
		t.Check = discovery.CheckTCP
	}
	if t.Check == discovery.CheckHTTP && t.Path == "" {
		t.Path = "/"
	}
	return t
}

// compare orders identities of one cluster; those of a host name lie together.
func (t Target) compare(o Target) int {
	return cmp.Or(
		strings.Compare(t.Key, o.Key),
		strings.Compare(t.Host, o.Host),
		t.Addr.Compare(o.Addr),
		cmp.Compare(t.Port, o.Port),
		cmp.Compare(t.Check, o.Check),
		strings.Compare(t.Path, o.Path),
		compareBool(t.Secure, o.Secure),
		compareBool(t.Verify, o.Verify),
	)
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

const (
	maxHost = 253 // octets of a DNS name (RFC 1035 section 2.3.4)
	maxPath = 1024
	maxKey  = 1024 // namespaces, names and an address fit
)

// Validate says why a target can't be checked. What a record of another
// cluster holds has been validated before; a path has not.
func (t Target) Validate() error {
	switch {
	case !t.Addr.IsValid() && t.Host == "":
		return errors.New("target: wants an address or a host name")
	case t.Addr.IsValid() && (t.Addr.IsUnspecified() || t.Addr.IsMulticast() || t.Addr.Zone() != ""):
		return errors.New("target: the address is not a plain unicast address")
	case t.Port == 0:
		return errors.New("target: wants a port")
	case t.Check > discovery.CheckNone:
		return errors.New("target: unknown check")
	case !plain(t.Cluster) || len(t.Cluster) > maxHost: // it is a label of metrics
		return errors.New("target: the cluster is not printable ASCII without spaces")
	case len(t.Key) > maxKey || len(t.Host) > maxHost || len(t.Path) > maxPath:
		return errors.New("target: a field is too long")
	case !plainHost(t.Host):
		return errors.New("target: the host is not a lower-case host name")
	case t.Path != "" && (t.Path[0] != '/' || !plain(t.Path)):
		return errors.New("target: the path wants a leading / and printable ASCII without spaces")
	}
	return t.Health.Validate()
}

// plainHost lets nothing into a request or a lookup that means something
// there.
func plainHost(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '.' && c != '_' {
			return false
		}
	}
	return true
}

// plain wants printable ASCII without spaces.
func plain(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
