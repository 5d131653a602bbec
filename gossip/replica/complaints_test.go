package replica

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestComplaints(t *testing.T) {
	c, now := make(complaints), time.Now()
	require.True(t, c.due("a", "refused", now))
	require.True(t, c.due("b", "refused", now), "each watcher's")
	require.False(t, c.due("a", "refused", now.Add(complaintPause-1)))
	require.True(t, c.due("a", "no such host", now.Add(complaintPause-1)), "news")
	require.True(t, c.due("a", "refused", now.Add(complaintPause)), "news again")
	require.False(t, c.due("a", "refused", now.Add(2*complaintPause-1)))
	require.True(t, c.due("a", "refused", now.Add(2*complaintPause)), "it is still so")
}
