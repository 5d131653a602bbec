package replica

import "fmt"

// checkLocked refuses heads that contradict what we have.
func (s *store) checkLocked(have *replicaPart, h *head) error {
	if s.uid != "" && h.Cluster == s.identity.ID().Cluster && h.Uid != s.uid {
		return fmt.Errorf("cluster %s: uid %q, but ours is %q: %w", h.Cluster, clip(h.Uid), s.uid, errCloned)
	}
	if have == nil {
		if len(s.clusters) >= s.limits.Clusters {
			return fmt.Errorf("cluster %s: %w", h.Cluster, errTooMany)
		}
		return nil
	}
	if have.head.Uid != h.Uid {
		if s.follows {
			return nil
		}
		return fmt.Errorf("cluster %s: uid %q, but %q holds the name: %w", h.Cluster, clip(h.Uid), clip(have.head.Uid), errCloned)
	}
	if have.head.version() == h.version() && have.head.root != h.root {
		return fmt.Errorf("cluster %s: epoch %d seq %d: %w", h.Cluster, h.Epoch, h.Seq, errEquivocate)
	}
	return nil
}
