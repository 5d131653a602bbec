package crash

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/isthmus-dns/isthmus/test/history"
)

const (
	// few and many bound how many services there are at a time; a mass deletion
	// is guarded from 20 on, and what is guarded is not lost but late.
	few, many = 6, 14
	// recent is for how long after its removal a service is asked for.
	recent = 3 * time.Second
	// hurried is the pause between two changes in a burst, shorter than the
	// time for which changes are gathered; calm is one that outlasts it.
	hurried, calm = 15 * time.Millisecond, 150 * time.Millisecond
)

// load makes, changes and removes services of one cluster all the time.
type load struct {
	t       *testing.T
	cluster string
	to      source
	history *history.History
	rand    *rand.Rand
	rest    atomic.Int64 // between two changes
	stop    func()

	mu     sync.Mutex
	live   []string
	values map[string]int       // of those that live
	top    int                  // the highest that was ever written
	gone   map[string]time.Time // when they were removed
	made   int
}

// newLoad is a load that does not run yet.
func newLoad(t *testing.T, name string, to source, h *history.History, seed uint64) *load {
	l := &load{
		t: t, cluster: name, to: to, history: h, rand: rand.New(rand.NewPCG(seed, 1)),
		values: map[string]int{}, gone: map[string]time.Time{}, stop: func() {},
	}
	l.rest.Store(int64(calm))
	return l
}

// run begins to change things, until stop or the test's end.
func (l *load) run() {
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		for ctx.Err() == nil {
			if err := l.step(); err != nil {
				assert.NoError(l.t, err, "change of a service")
				return
			}
			select {
			case <-ctx.Done():
			case <-time.After(time.Duration(l.rest.Load())):
			}
		}
	})
	l.stop = sync.OnceFunc(func() { cancel(); done.Wait() })
	l.t.Cleanup(l.stop)
}

// burst makes changes come fast, or no longer.
func (l *load) burst(on bool) {
	rest := calm
	if on {
		rest = hurried
	}
	l.rest.Store(int64(rest))
}

// step is one change.
func (l *load) step() error {
	l.mu.Lock()
	n := len(l.live)
	dice := l.rand.IntN(10)
	l.mu.Unlock()
	switch {
	case n < few || n < many && dice < 3:
		return l.create()
	case dice < 6:
		return l.remove()
	default:
		return l.update()
	}
}

func (l *load) create() error {
	l.mu.Lock()
	l.made++
	name := fmt.Sprintf("s%05d", l.made)
	l.write(name, 1)
	l.live = append(l.live, name)
	l.values[name] = 1
	l.mu.Unlock()
	return l.to.create(name, 1)
}

func (l *load) update() error {
	l.mu.Lock()
	name := l.live[l.rand.IntN(len(l.live))]
	l.values[name]++
	value := l.values[name]
	l.write(name, value)
	l.mu.Unlock()
	return l.to.update(name, value)
}

func (l *load) remove() error {
	l.mu.Lock()
	at := l.rand.IntN(len(l.live))
	name := l.live[at]
	l.live = slices.Delete(l.live, at, at+1)
	delete(l.values, name)
	l.gone[name] = time.Now()
	l.write(name, history.Absent)
	l.mu.Unlock()
	return l.to.remove(name)
}

func (l *load) write(name string, value int) {
	l.top = max(l.top, value)
	l.history.Write(history.Write{Service: history.Service{Cluster: l.cluster, Name: name}, Value: value, Began: time.Now()})
}

// restored goes on from what the source says after it was put back. Values
// stay above all that were ever written.
func (l *load) restored(truth map[string]int, above int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, name := range l.live {
		l.gone[name] = time.Now()
	}
	l.live, l.values = nil, map[string]int{}
	for name := range truth {
		l.live = append(l.live, name)
		l.values[name] = above
		delete(l.gone, name)
	}
	slices.Sort(l.live) // for the seed's sake
}

// highest is above all values there were so far.
func (l *load) highest() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.top + 1
}

// asked are the services worth asking for: those that live, and those that
// were removed not long ago.
func (l *load) asked() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	names := slices.Clone(l.live)
	for name, at := range l.gone {
		if time.Since(at) < recent {
			names = append(names, name)
		}
	}
	return names
}

// all are all services there ever were.
func (l *load) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	names := make([]string, l.made)
	for i := range names {
		names[i] = fmt.Sprintf("s%05d", i+1)
	}
	return names
}
