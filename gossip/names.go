package gossip

import (
	"errors"
	"fmt"
	"strings"
)

// maxLabel is the length of a DNS label in octets (RFC 1035 section 2.3.4).
const maxLabel = 63

// ErrName is wrapped by errors about member names.
var ErrName = errors.New(`want "<watcher>.<cluster>", two lower-case DNS labels`)

// SplitName takes a member's name, "<watcher>.<cluster>", apart. Both parts
// are lower-case DNS labels, as a Pod's and a cluster's name are. The error
// wraps ErrName and repeats at most 64 octets of the name.
func SplitName(name string) (watcher, cluster string, err error) {
	watcher, cluster, _ = strings.Cut(name, ".")
	if !validLabel(watcher) || !validLabel(cluster) {
		return "", "", fmt.Errorf("member name %.64q: %w", name, ErrName)
	}
	return watcher, cluster, nil
}

// ClusterOf is the cluster in a member's name that was checked before.
func ClusterOf(name string) string {
	_, cluster, _ := strings.Cut(name, ".")
	return cluster
}

func validLabel(s string) bool {
	if s == "" || len(s) > maxLabel {
		return false
	}
	for i := range len(s) {
		c := s[i]
		alnum := c >= 'a' && c <= 'z' || c >= '0' && c <= '9'
		if !alnum && (c != '-' || i == 0 || i == len(s)-1) {
			return false
		}
	}
	return true
}
