package replica

import (
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/isthmus-dns/isthmus/gossip/trust"
)

// Lines a second, and at once, about what others do wrong: enough to see it,
// too few to fill a disk.
const warnRate, warnBurst = 5, 20

// warner logs what can come as often as others like.
type warner struct {
	log     *slog.Logger
	limit   *rate.Limiter
	leftOut atomic.Int64

	mu   sync.Mutex
	said map[string]time.Time // what refused has logged, and when; guarded by mu
}

const (
	// sayAgain is how often the same thing is logged: a cluster that is refused
	// is refused with each of its heartbeats.
	sayAgain = 10 * time.Minute
	// maxSaid bounds what is remembered as said.
	maxSaid = 1024
)

func newWarner(log *slog.Logger) *warner {
	return &warner{log: log, limit: rate.NewLimiter(warnRate, warnBurst), said: map[string]time.Time{}}
}

// refused logs that something of a cluster was refused, unless it has said so
// lately.
func (w *warner) refused(cluster string, err error) {
	what, now := cluster+" "+err.Error(), time.Now()
	w.mu.Lock()
	known := !w.said[what].IsZero() && now.Sub(w.said[what]) < sayAgain
	if !known {
		if len(w.said) >= maxSaid {
			clear(w.said)
		}
		w.said[what] = now
	}
	w.mu.Unlock()
	if !known {
		w.warn("record refused", "cluster", cluster, "error", err)
	}
}

func (w *warner) warn(message string, attrs ...any) {
	if !w.limit.Allow() {
		w.leftOut.Add(1)
		return
	}
	if n := w.leftOut.Swap(0); n > 0 {
		attrs = append(attrs, "lines_left_out", n)
	}
	w.log.Warn(message, attrs...)
}

// alarms are the reasons that no accident of the network brings about: two
// processes publish as one. Their names are part of the documentation.
var alarms = []string{"equivocation", "cloned"}

// refusalReason is an error as a metric label.
func refusalReason(err error) string {
	for reason, is := range map[string]error{
		"malformed": errMalformed, "clusterset": errForeign, "impostor": errImpostor,
		"limit": errTooLarge, "clusters": errTooMany, "equivocation": errEquivocate,
		"cloned": errCloned, "root": errRoot, "retired": errRetired,
		"denied": errDenied, "namespace": errNamespace, "quota": errQuota, "aliases": errAlias,
		"signature": trust.ErrBadSignature,
	} {
		if errors.Is(err, is) {
			return reason
		}
	}
	var refused *trust.RefusedError
	if errors.As(err, &refused) {
		return string(refused.Reason)
	}
	return otherReason
}

// otherReason is the label of records that do not decode, and of errors that
// are no refusals.
const otherReason = "record"

// isRefusal tells an error about what a peer claims from one about reaching it.
func isRefusal(err error) bool { return refusalReason(err) != otherReason }
