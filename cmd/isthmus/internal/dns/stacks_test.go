package dns

import (
	"context"
	"runtime"
	runtimemetrics "runtime/metrics"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What Go itself tells of where it starts stacks.
func stackStart() uint64 {
	runtime.GC()
	sample := []runtimemetrics.Sample{{Name: "/gc/stack/starting-size:bytes"}}
	runtimemetrics.Read(sample)
	return sample[0].Value.Uint64()
}

func TestHoldStacks(t *testing.T) {
	require.Less(t, stackStart(), uint64(8<<10))
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		holdStacks(ctx)
	}()
	require.Eventually(t, func() bool { return stackStart() == 8<<10 }, 10*time.Second, 10*time.Millisecond)
	cancel()
	<-ended
	require.Eventually(t, func() bool { return stackStart() < 8<<10 }, 10*time.Second, 10*time.Millisecond)
}
