package dns

import (
	"context"
	"sync"
)

// A CoreDNS answers each UDP query in a goroutine of its own, which needs 4 to
// 8 KiB of stack by the time that the answer is written through the usual
// plugins. Go starts a goroutine with the average that all goroutines used at
// the last garbage collection, 2 to 4 KiB in an agent, whose other goroutines
// sleep near the bottom of theirs; so each query's stack is copied once or
// twice, frame by frame. That took a quarter to a third of all processor time.
// Sleeping goroutines that do use 6 KiB move the average to where queries need
// it. That is a matter of the whole process, so the program does it and not the
// plugin. If a later Go counts differently, they have no effect.
const (
	// stackRoom, the frames below it and what Go adds (928 octets) lie between
	// 4 and 8 KiB, so that 8 KiB is what goroutines start with, never more.
	stackRoom = 6 << 10
	// stackHolders outweigh the 30 to 60 other goroutines of an agent and, in a
	// burst, 100 queries that wait for their turn with empty stacks. They hold
	// a megabyte, and a collection looks at them in about 0.2 ms.
	stackHolders = 128
)

// holdStacks keeps the stacks of queries from growing until ctx ends.
func holdStacks(ctx context.Context) {
	var holders sync.WaitGroup
	defer holders.Wait()
	for range stackHolders {
		holders.Go(func() { holdStack(ctx.Done()) })
	}
}

// holdStack sleeps with its room on the stack.
//
//go:noinline
func holdStack(done <-chan struct{}) {
	var room [stackRoom]byte
	use(&room)
	<-done
	use(&room)
}

// use is what the compiler can't see through, and must keep the room for.
//
//go:noinline
func use(room *[stackRoom]byte) { room[0]++ }
