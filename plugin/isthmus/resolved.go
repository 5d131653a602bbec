package isthmus

import (
	"cmp"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"
)

const (
	// minRefresh and maxRefresh bound the time between two lookups of a name,
	// whatever its TTL. The large clouds' load balancers have 60 s; a TTL of 0
	// must not make every agent ask all the time, and one of a day, copied from
	// a template, must not hold what has moved for longer than the clients'
	// patience.
	minRefresh = 5 * time.Second
	maxRefresh = 5 * time.Minute
	// perName stretches minRefresh where names are many: an agent looks up at
	// most 33 a second, so that a cluster with a thousand names of TTL 0 can't
	// turn a thousand agents against their name servers.
	perName = 30 * time.Millisecond
	// refreshUnknown is the time where nobody tells a TTL (/etc/hosts).
	refreshUnknown = 30 * time.Second
	// keepDenied is how long the DNS must say that there are no addresses until
	// there are none; till then the last good ones stay, or, of a name that never
	// had any, its first ones are awaited. A zone that lost its records by mistake is mended
	// within minutes, and its load balancers have worked all the time. But the
	// address of a load balancer that was deleted becomes a stranger's: RFC
	// 8767 section 4 wants NXDOMAIN believed at once.
	keepDenied = 10 * time.Minute
	// retryNames is the pause after a lookup that found nothing. It doubles up
	// to maxRetryNames: every agent asks, and a name that a cloud has just made
	// is there within a minute or two.
	retryNames    = 5 * time.Second
	maxRetryNames = time.Minute
)

// resolved is one name's state; guarded by resolver.mu.
type resolved struct {
	cluster string // whose gateway has it; one of them if several do
	// v4 and v6 are the last good addresses, sorted; all are both. They are
	// replaced, never changed.
	v4, v6, all []netip.Addr
	known       bool          // whether there are addresses, or that there are none
	denied      time.Time     // the first of the denials since then; zero for none
	pause       time.Duration // before the next lookup when the last one failed, else 0
	due         time.Time
	busy        bool
}

// take takes over what a lookup found of both families. The error says what
// was not learned; one family's failure leaves it as it was.
func (n *resolved) take(v4, v6 found, now time.Time) error {
	if v4.err == nil || v6.err == nil {
		n.known, n.denied = true, time.Time{}
		n.v4, n.v6 = v4.or(n.v4), v6.or(n.v6)
		n.all = slices.Concat(n.v4, n.v6)
		return cmp.Or(v4.failure(), v6.failure())
	}
	if err := cmp.Or(v4.failure(), v6.failure()); err != nil {
		return err
	}
	if n.denied.IsZero() {
		n.denied = now
	}
	if now.Sub(n.denied) >= keepDenied {
		n.known, n.v4, n.v6, n.all = true, nil, nil, nil
	}
	return errNoAddress
}

// schedule sets when the name is looked up next.
func (n *resolved) schedule(v4, v6 found, err error, names int) {
	wait := 2 * maxRefresh
	for _, f := range []found{v4, v6} {
		if f.err == nil {
			wait = min(wait, refresh(f.ttl, names))
		}
	}
	if err == nil {
		n.pause = 0
	} else {
		n.pause = min(max(2*n.pause, retryNames), maxRetryNames)
		wait = min(wait, apart(max(n.pause, time.Duration(names)*perName)))
	}
	n.due = time.Now().Add(wait)
}

// refresh is the time from a lookup that found something to the next.
func refresh(ttl time.Duration, names int) time.Duration {
	if ttl == unknownTTL {
		ttl = refreshUnknown
	}
	return apart(min(max(ttl, minRefresh, time.Duration(names)*perName), maxRefresh))
}

// apart makes a wait up to a tenth longer, so that agents which began together,
// or whose name server failed all of them at once, drift apart; no shorter,
// since a caching name server that is asked shortly before its copy expires
// only tells the rest.
func apart(wait time.Duration) time.Duration { return wait + rand.N(wait/10) }
