package replica

import "fmt"

// checkLocked refuses heads that contradict what we have.
func (s *store) checkLocked(have *replicaPart, h *head) error {
	// That the one before us under our name is retired is no contradiction.
	if s.uid != "" && h.Cluster == s.identity.ID().Cluster && h.Uid != s.uid && !h.Retired {
		return fmt.Errorf("cluster %s: uid %q, but ours is %q: %w", h.Cluster, clip(h.Uid), s.uid, errCloned)
	}
	if have == nil {
		if len(s.clusters) >= s.limits.Clusters {
			return fmt.Errorf("cluster %s: %w", h.Cluster, errTooMany)
		}
		return nil
	}
	switch {
	case have.head.Uid == h.Uid:
		if have.head.version() == h.version() && have.head.root != h.root {
			return fmt.Errorf("cluster %s: epoch %d seq %d: %w", h.Cluster, h.Epoch, h.Seq, errEquivocate)
		}
		return nil
	case s.follows:
		return nil
	case have.head.Retired && h.Epoch > have.head.Epoch:
		return nil // the name is free
	case h.Retired && h.Uid != s.uid && h.Cluster == s.identity.ID().Cluster && h.Epoch > have.head.Epoch:
		return nil // we published before we heard how far the one before us was
	case have.head.Retired:
		return fmt.Errorf("cluster %s: uid %q under epoch %d: %w", h.Cluster, clip(h.Uid), h.Epoch, errRetired)
	}
	return fmt.Errorf("cluster %s: uid %q, but %q holds the name: %w", h.Cluster, clip(h.Uid), clip(have.head.Uid), errCloned)
}
