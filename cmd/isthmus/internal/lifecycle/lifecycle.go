// Package lifecycle runs the parts of a process: it starts them in order and
// stops them in reverse, so that no part outlives what it speaks through.
package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Part is something that lives: Run returns when ctx ends or on an error that
// the process can't go on with.
type Part struct {
	Name string
	Run  func(ctx context.Context) error
}

// stopGrace is how long one part may take to stop. The parts bound themselves
// to less; this is for a part with a fault, which must not keep the others
// from stopping.
const stopGrace = 10 * time.Second

// ErrEnded is wrapped when a part ended without an error while it should live.
var ErrEnded = errors.New("ended unexpectedly")

// Run runs all parts until ctx ends or one of them does, then stops them, the
// last one first. It returns the error of the part that ended by itself, and
// nil when ctx ended.
func Run(ctx context.Context, parts ...Part) error {
	ended := make(chan error, len(parts))
	running := make([]*running, 0, len(parts))
	for _, p := range parts {
		running = append(running, start(ctx, p, ended))
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-ended:
	}
	for i := len(running) - 1; i >= 0; i-- {
		if stopped := running[i].stop(); err == nil {
			err = stopped
		}
	}
	return err
}

type running struct {
	part   Part
	cancel context.CancelFunc
	done   chan struct{}
}

// start runs a part under a context of its own, which does not end with the
// parent: Run ends them one after the other.
func start(parent context.Context, p Part, ended chan<- error) *running {
	ctx, cancel := context.WithCancel(context.WithoutCancel(parent))
	r := &running{part: p, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(r.done)
		err := p.Run(ctx)
		if ctx.Err() != nil {
			return // it was told to
		}
		if err == nil {
			err = ErrEnded
		}
		ended <- fmt.Errorf("%s: %w", p.Name, err)
	}()
	return r
}

func (r *running) stop() error {
	r.cancel()
	timer := time.NewTimer(stopGrace)
	defer timer.Stop()
	select {
	case <-r.done:
		return nil
	case <-timer.C:
		return fmt.Errorf("%s: did not stop within %v", r.part.Name, stopGrace)
	}
}
