package replica

import (
	"context"
	"encoding/hex"
	"fmt"
	"log/slog"
	"slices"
	"strings"
)

// With debug lines on, a watcher and an agent log each version that they make
// current, in the order in which they do: what a name was here at any time can
// then be told from the log, and compared with what it was elsewhere.

// maxLoggedKeys bounds a line: the parts of large clusters have 200,000 keys,
// of up to maxKey octets. How many are left out is told.
const maxLoggedKeys = 2000

// logCommit tells of the step from one part to the next.
func logCommit(log *slog.Logger, h *head, from, to *part) {
	if !log.Enabled(context.Background(), slog.LevelDebug) {
		return // comparing parts is not free
	}
	changed, removed := diff(from, to)
	keys := make([]string, 0, len(changed))
	for _, it := range changed {
		keys = append(keys, it.key+"@"+hex.EncodeToString(it.leaf[:prefixLen]))
	}
	log.Debug("part committed", "cluster", h.Cluster, "uid", clip(h.Uid), "epoch", h.Epoch, "seq", h.Seq,
		"root", hex.EncodeToString(h.root[:prefixLen]), "items", to.items, "changed", listed(keys), "removed", listed(removed))
}

// listed are the first keys by name, and how many more there are.
func listed(keys []string) string {
	slices.Sort(keys)
	if more := len(keys) - maxLoggedKeys; more > 0 {
		keys = append(keys[:maxLoggedKeys:maxLoggedKeys], fmt.Sprintf("+%d", more))
	}
	return strings.Join(keys, " ")
}

// logRetirement tells that a cluster's names go, or may be back, by somebody's
// hand: nothing else in the log of other clusters says so.
func logRetirement(log *slog.Logger, h, was *head) {
	switch {
	case was == nil || was.Retired == h.Retired:
	case h.Retired:
		log.Warn("cluster was retired, its services are gone", "cluster", h.Cluster, "uid", clip(h.Uid), "epoch", h.Epoch)
	default:
		log.Info("cluster is not retired any more", "cluster", h.Cluster, "uid", clip(h.Uid), "epoch", h.Epoch)
	}
}
