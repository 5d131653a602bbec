package kube

import (
	"context"
	"fmt"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// LeaseName is the Lease that a cluster's watchers compete for.
const LeaseName = "isthmus-watcher"

// A killed leader is replaced within 10 s. Those who wait look every 1 to 2.2
// retries (client-go's jitter), so they see its last renewal up to 1.65 s
// late, let the lease run out by their own clock, and look again up to 1.65 s
// later: 9.3 s at worst. A leader that can't renew for 4 s stands down, 2 s
// before anybody else can take over. Renewing costs 1.3 small writes a second
// a cluster.
const (
	leaseDuration = 6 * time.Second // whole seconds: that is what a Lease holds
	renewDeadline = 4 * time.Second
	retryPeriod   = 750 * time.Millisecond
)

// Elect takes part in the election of the cluster's publisher until ctx ends.
// lead runs while this replica holds the Lease; its ctx ends when the Lease is
// lost or Elect's own ctx ends. The Lease is given up only after lead has
// returned, and at once, so that the next leader need not wait. A lead that
// returns by itself gives it up too, and this replica stands again.
//
// A Lease is no lock: a leader that was stopped and wakes up may believe for a
// moment that it still leads. The epoch makes that harmless.
func (s *Source) Elect(ctx context.Context, lead func(ctx context.Context)) error {
	ctx = s.logging(ctx)
	for {
		if err := s.stand(ctx, lead); err != nil {
			return err
		}
		// The pause gives others their turn after a lead that returned.
		if !pause(ctx, retryPeriod) {
			return nil
		}
	}
}

// stand is one candidacy and, if won, the term.
func (s *Source) stand(ctx context.Context, lead func(ctx context.Context)) error {
	// The elector must outlive ctx until lead has returned: it releases the
	// Lease as soon as its own context ends.
	own, resign := context.WithCancel(context.WithoutCancel(ctx))
	defer resign()
	t := &term{done: make(chan struct{})}
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: &resourcelock.LeaseLock{
			LeaseMeta:  metav1.ObjectMeta{Namespace: s.cfg.Namespace, Name: LeaseName},
			Client:     s.cfg.Client.CoordinationV1(),
			LockConfig: resourcelock.ResourceLockConfig{Identity: s.cfg.Identity},
		},
		Name:            LeaseName,
		LeaseDuration:   leaseDuration,
		RenewDeadline:   renewDeadline,
		RetryPeriod:     retryPeriod,
		ReleaseOnCancel: true,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(held context.Context) {
				if !t.begin() {
					return
				}
				defer close(t.done)
				defer resign()
				held, cancel := context.WithCancel(held)
				defer cancel()
				defer context.AfterFunc(ctx, cancel)()
				s.metrics.leader.Set(1)
				defer s.metrics.leader.Set(0)
				lead(held)
			},
			OnStoppedLeading: func() {},
		},
	})
	if err != nil {
		return fmt.Errorf("lease election: %w", err)
	}
	s.elector.Store(elector)
	defer s.elector.Store(nil)
	defer context.AfterFunc(ctx, func() {
		if t.end() {
			resign() // nothing runs that would do it when it returns
		}
	})()
	elector.Run(own)
	if !t.end() {
		<-t.done
	}
	return nil
}

// Holds tells, by this process's own clock and without asking the API server,
// whether it holds the Lease. It is false as soon as a process goes on that was
// stopped for longer than the Lease lasts, before lead's ctx can end.
func (s *Source) Holds() bool {
	e := s.elector.Load()
	return e != nil && e.IsLeader() && e.Check(0) == nil
}

// term decides whether lead may still begin: client-go starts it in a
// goroutine that may come late, after the Lease is lost again.
type term struct {
	done chan struct{} // closed when lead has returned

	mu    sync.Mutex
	began bool
	over  bool
}

// begin tells whether lead may run.
func (t *term) begin() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.over {
		t.began = true
	}
	return t.began
}

// end lets no lead begin from now on; false when one has.
func (t *term) end() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.over = true
	return !t.began
}
