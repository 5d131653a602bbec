package clusters

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/test/clusters/heard"
)

// TestTally: what judges all faults sees what is wrong. It needs no cluster.
func TestTally(t *testing.T) {
	began := time.Now()
	for _, tt := range []struct {
		name        string
		answers     []string
		want        []string
		also        []string
		wrong, lost int
	}{
		{name: "right", answers: []string{"a", "a"}, want: []string{"a", "a"}},
		{name: "moved", answers: []string{"a", "b", "b"}, want: []string{"a", "b"}},
		{name: "back again", answers: []string{"a", "b", "a"}, want: []string{"a", "b"}, wrong: 1},
		{name: "there and back", answers: []string{"a", "b", "a"}, want: []string{"a", "b", "a"}},
		{name: "unknown", answers: []string{"a", "c", "b"}, want: []string{"a", "b"}, wrong: 1},
		{name: "denied", answers: []string{heard.NXDomain, heard.NoData}, want: []string{"a"}, wrong: 2},
		{name: "lost", answers: []string{heard.Lost, "a", heard.Lost + " SERVFAIL"}, want: []string{"a"}, lost: 2},
		{name: "in any order", answers: []string{"c", "a", "c"}, want: []string{"a"}, also: []string{"c"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var runs []heard.Run
			for i, answer := range tt.answers {
				at := began.Add(time.Duration(i) * time.Second)
				runs = append(runs, heard.Run{Via: heard.Agent, Name: "x.", Answer: answer, From: at, To: at, Count: 1})
			}
			// Heard after the end, and so nobody's business.
			late := began.Add(time.Hour)
			runs = append(runs, heard.Run{Via: heard.Agent, Name: "x.", Answer: "z", From: late, To: late, Count: 1})

			var got tally
			got.add(asker{}, runs, began.Add(time.Minute), wants{"x.": tt.want}, map[string][]string{"x.": tt.also})
			require.Equal(t, len(tt.answers), got.queries)
			require.Equal(t, tt.wrong, got.wrong)
			require.Equal(t, tt.lost, got.lost)
			require.Len(t, got.examples, tt.wrong+tt.lost)
		})
	}
}

// TestManual: the commands that the installation types are found.
func TestManual(t *testing.T) {
	s := readSteps(t, readManual(t))
	require.NotEmpty(t, s.once)
	require.NotEmpty(t, s.address)
	require.NotEmpty(t, s.rest)
	for _, line := range s.once {
		require.Contains(t, line, "isthmus pki ")
	}
}
