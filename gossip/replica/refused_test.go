package replica

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// TestTheSameIsSaidOnce: a cluster that is refused with each heartbeat fills no
// log, and is still in it after an hour.
func TestTheSameIsSaidOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		w := newWarner(slog.New(slog.NewTextHandler(&out, nil)))
		for range time.Hour / heartbeat {
			w.refused("east", errTooLarge)
			time.Sleep(heartbeat)
		}
		require.Equal(t, int(time.Hour/sayAgain), strings.Count(out.String(), "\n"))
		w.refused("east", errCloned)
		require.Contains(t, out.String(), errCloned.Error(), "at once")
		for i := range 10 * maxSaid {
			w.refused("east", errors.New(fmt.Sprint("x", i)))
		}
		require.LessOrEqual(t, len(w.said), maxSaid)
		require.Less(t, strings.Count(out.String(), "\n"), 100)
	})
}
