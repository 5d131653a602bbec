package trust

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// Role is what a certificate's holder may do.
type Role string

// The roles. A watcher publishes its cluster's part and gossips; an agent may
// only read, from its own cluster's watchers.
const (
	Watcher Role = "watcher"
	Agent   Role = "agent"
)

// ID is a SPIFFE ID of a clusterset, taken apart.
type ID struct {
	Clusterset, Cluster string
	Role                Role
}

// String is the SPIFFE ID's URI.
func (id ID) String() string {
	return "spiffe://" + id.Clusterset + "/cluster/" + id.Cluster + "/" + string(id.Role)
}

// ErrNotOurs is wrapped by errors about SPIFFE IDs of another form than ours.
var ErrNotOurs = errors.New("want spiffe://<clusterset>/cluster/<name>/watcher or …/agent")

// parseID takes a SPIFFE ID apart.
func parseID(s spiffeid.ID) (ID, error) {
	parts := strings.Split(s.Path(), "/")
	if len(parts) != 4 || parts[0] != "" || parts[1] != "cluster" {
		return ID{}, fmt.Errorf("spiffe id %s: %w", s, ErrNotOurs)
	}
	role := Role(parts[3])
	if role != Watcher && role != Agent {
		return ID{}, fmt.Errorf("spiffe id %s: %w", s, ErrNotOurs)
	}
	return ID{Clusterset: s.TrustDomain().Name(), Cluster: parts[2], Role: role}, nil
}

// uri makes the SPIFFE ID; the error says which part it does not allow.
func (id ID) uri() (spiffeid.ID, error) {
	td, err := spiffeid.TrustDomainFromString(id.Clusterset)
	if err != nil {
		return spiffeid.ID{}, fmt.Errorf("clusterset %q: %w", id.Clusterset, err)
	}
	s, err := spiffeid.FromSegments(td, "cluster", id.Cluster, string(id.Role))
	if err != nil {
		return spiffeid.ID{}, fmt.Errorf("cluster %q: %w", id.Cluster, err)
	}
	_, err = parseID(s)
	return s, err
}
