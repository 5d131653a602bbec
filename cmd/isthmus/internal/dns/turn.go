package dns

import (
	"errors"
	"slices"
	"sync"

	"github.com/coredns/caddy"
)

// errReplaced is why a restart doesn't happen: another one came first. The
// Corefile that it was to bring in has been read by that, or is by the next.
var errReplaced = errors.New("this configuration was replaced meanwhile")

// turn lets one reload go on at a time. A signal and the reload plugin, each
// in a goroutine of its own, restart the instance that they know; both at once
// would leave two that answer, one of them for ever.
type turn struct {
	mu sync.Mutex
	// holder is the instance that is being replaced, nil for none. It belongs
	// to who has locked mu.
	holder *caddy.Instance
}

// take waits for the turn. Whoever gets an error has it, too.
func (t *turn) take(i *caddy.Instance, isCurrent func() bool) error {
	t.mu.Lock()
	t.holder = i
	if !isCurrent() {
		return errReplaced
	}
	return nil
}

// end gives the turn back if it is the instance's.
func (t *turn) end(i *caddy.Instance) {
	if t.holder == i {
		t.holder = nil
		t.mu.Unlock()
	}
}

// follow makes a new instance the current one, whoever started it. Caddy calls
// it before the instance can be restarted, with the goroutine that has the
// turn of the instance before.
//
// The new one reads from duplicates of the old one's sockets, so that the
// kernel's queues of datagrams and of connections are the same and nothing in
// them is lost. But the old one must have begun to read before it is told to
// stop: else it would miss that, and answer for ever from a Corefile that is
// no more.
func (s *server) follow(i *caddy.Instance) {
	i.OnRestart = slices.Insert(i.OnRestart, 0, func() error {
		if err := s.turn.take(i, func() bool { return s.current.Load() == i }); err != nil {
			// The plugins' hooks would open again what the instance had open,
			// as the port of its health checks, and nobody would ever close it.
			i.OnRestartFailed = i.OnRestartFailed[len(i.OnRestartFailed)-1:]
			return err
		}
		awaitServing(i)
		return nil
	})
	i.OnRestartFailed = append(i.OnRestartFailed, func() error { // the last one
		s.turn.end(i)
		return nil
	})
	if before := s.current.Swap(i); before != nil {
		s.turn.end(before)
	}
}
