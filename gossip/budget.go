package gossip

import "golang.org/x/time/rate"

// allowance is how many messages of a kind the members of one cluster may send
// us, together: a cluster can have as many members as it has names for.
type allowance struct {
	reason string // for the metric
	rate   rate.Limit
	burst  int
}

// A packet of 64 KiB holds up to 255 messages, so that counting packets, as a
// Transport does, bounds nothing. What is beyond an allowance is dropped.
var (
	// A user message costs the Handler a signature check of some 0.1 ms: 500 a
	// second are 5 % of a core. A cluster of three watchers stays far below: it
	// sends its own versions, ten a second, or a hundred as long as services lose
	// their last endpoint one by one, and what falls to it of others' news, one
	// in as many as there are clusters.
	allowMessages = allowance{reason: "message_rate", rate: 500, burst: 4000}

	// An answer to a ping carries memberlist's broadcasts, which count as sent
	// then: many pings would draw the news to one member. Three watchers make
	// 1.5 a second in the smallest pool, and as many again for others whose
	// probes fail.
	allowPings = allowance{reason: "ping_rate", rate: 10, burst: 50}

	// Answers come to what we asked, about once in two seconds.
	allowAcks = allowance{reason: "ack_rate", rate: 50, burst: 500}

	// An accusation of being dead or suspect makes every member send it on,
	// and the accused object, and every member send that on. Honest ones tell
	// of a death once each; when a third of 3,000 members vanish at once, a
	// packet for us brings at most 200 of them.
	allowAccusations = allowance{reason: "accusation_rate", rate: 20, burst: 200}

	// A claim that a member is alive is sent on once if it is news. When a
	// pool heals, 1,500 of them come, from all sides.
	allowClaims = allowance{reason: "claim_rate", rate: 100, burst: 2000}
)

// ownTimes is how many times as many messages our own cluster's watchers may
// send: they tell us all news that they have first, at 1,000 clusters and one
// service in a hundred changing a minute some 270 a second. They sign what our
// cluster says, so there is less to be feared of them.
const ownTimes = 8

// allowanceOf sorts a message type that passed the gate.
func allowanceOf(kind byte) *allowance {
	switch kind {
	case typeUser:
		return &allowMessages
	case typePing, typeIndirectPing:
		return &allowPings
	case typeSuspect, typeDead:
		return &allowAccusations
	case typeAlive:
		return &allowClaims
	}
	return &allowAcks
}

// budgets are what is left of the allowances of all clusters. They are used by
// one goroutine.
type budgets struct {
	own       string // cluster
	byCluster map[string]map[*allowance]*rate.Limiter
}

// spend takes one message from a cluster's allowance of its kind, if there is
// one left.
func (b *budgets) spend(cluster string, a *allowance) bool {
	if b.byCluster == nil {
		b.byCluster = map[string]map[*allowance]*rate.Limiter{}
	}
	of := b.byCluster[cluster]
	if of == nil {
		for other := range b.byCluster {
			if len(b.byCluster) < MaxMembers {
				break
			}
			delete(b.byCluster, other) // any: it begins with a full burst again
		}
		of = map[*allowance]*rate.Limiter{}
		b.byCluster[cluster] = of
	}
	l := of[a]
	if l == nil {
		l = rate.NewLimiter(a.rate, a.burst)
		if cluster == b.own && a == &allowMessages {
			l = rate.NewLimiter(ownTimes*a.rate, ownTimes*a.burst)
		}
		of[a] = l
	}
	return l.Allow()
}
