package lifecycle_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/cmd/isthmus/internal/lifecycle"
)

func recorder(log *[]string, name string) lifecycle.Part {
	return lifecycle.Part{Name: name, Run: func(ctx context.Context) error {
		<-ctx.Done()
		*log = append(*log, name)
		return nil
	}}
}

func TestStopsInReverse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log []string
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		require.NoError(t, lifecycle.Run(ctx, recorder(&log, "a"), recorder(&log, "b"), recorder(&log, "c")))
		require.Equal(t, []string{"c", "b", "a"}, log)
	})
}

func TestAPartThatFailsStopsTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log []string
		broken := errors.New("broken")
		fails := lifecycle.Part{Name: "x", Run: func(context.Context) error { return broken }}
		err := lifecycle.Run(t.Context(), recorder(&log, "a"), fails, recorder(&log, "b"))
		require.ErrorIs(t, err, broken)
		require.ErrorContains(t, err, "x: broken")
		require.Equal(t, []string{"b", "a"}, log)

		ends := lifecycle.Part{Name: "y", Run: func(context.Context) error { return nil }}
		require.ErrorIs(t, lifecycle.Run(t.Context(), ends), lifecycle.ErrEnded)
	})
}

func TestAPartThatHangsIsNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		defer close(release)
		var log []string
		hangs := lifecycle.Part{Name: "stuck", Run: func(context.Context) error { <-release; return nil }}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		err := lifecycle.Run(ctx, recorder(&log, "a"), hangs)
		require.ErrorContains(t, err, "stuck: did not stop")
		require.Equal(t, []string{"a"}, log)
	})
}
