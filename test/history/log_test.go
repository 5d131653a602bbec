package history

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const watcherLog = `=== life 1
{"time":"T1","level":"INFO","msg":"watcher starts","self":"east"}
{"time":"T2","level":"DEBUG","msg":"part committed","self":"east","cluster":"east","uid":"u1","epoch":18446744073709551615,"seq":2,"root":"00ff","items":3,"changed":"c@01 s/shop/user@02","removed":"s/shop/cart s/shop/old"}
{"time":"T3","level":"DEBUG","msg":"part committed","clu

=== life 2
{"time":"T4","level":"DEBUG","msg":"part dropped","self":"east","cluster":"west"}
{"msg":"part committed","clu`

func TestReadLogOfWatcher(t *testing.T) {
	got, err := ReadLog("w", strings.NewReader(watcherLog))
	require.NoError(t, err)
	require.Equal(t, []Commit{
		{
			Node: Node{"w", 1}, Line: 3, Time: "T2", Cluster: "east", UID: "u1", Version: Version{18446744073709551615, 2}, Root: "00ff", Items: 3,
			Changed: map[string]string{"c": "01", "s/shop/user": "02"}, Removed: []string{"s/shop/cart", "s/shop/old"},
		},
		{Node: Node{"w", 2}, Line: 7, Time: "T4", Cluster: "west", Dropped: true, Changed: map[string]string{}},
	}, got)
}

func TestReadLogOfAgent(t *testing.T) {
	got, err := ReadLog("a", strings.NewReader(`=== life 1
[INFO] plugin/isthmus: table is current watcher=127.0.0.1:1 clusters=3
[DEBUG] plugin/isthmus: part committed cluster=east uid="u 1" epoch=5 seq=1 root=ab items=2 changed="c@01 s/shop/user@02" removed=""
[DEBUG] plugin/isthmus: part committed cluster=east uid=u epoch=5 seq=2 root=ac items=1 changed="" removed=s/shop/user
`))
	require.NoError(t, err)
	require.Len(t, got, 2)
	require.Equal(t, Commit{
		Node: Node{"a", 1}, Line: 3, Cluster: "east", UID: "u 1", Version: Version{5, 1}, Root: "ab", Items: 2,
		Changed: map[string]string{"c": "01", "s/shop/user": "02"},
	}, got[0])
	require.Equal(t, []string{"s/shop/user"}, got[1].Removed)
	require.Empty(t, got[1].Changed)
}

// TestReadLogWantsAll: what can't be read, or was left out, is an error: a
// history with a hole proves nothing.
func TestReadLogWantsAll(t *testing.T) {
	for name, line := range map[string]string{
		"no version":        `part committed cluster=east root=ab items=1`,
		"no items":          `part committed cluster=east epoch=1 seq=1 root=ab`,
		"changed left out":  `part committed cluster=east epoch=1 seq=1 root=ab items=1 changed="s/a/b@01 +7"`,
		"removed left out":  `part committed cluster=east epoch=1 seq=1 root=ab items=1 changed="" removed="s/a/b +7"`,
		"unfinished quote":  `part committed cluster=east epoch=1 seq=1 root=ab items=1 changed="s/a/b@01`,
		"words for fields":  `part committed and done`,
		"torn JSON":         `{"msg":"part committed","cluster":"east"`,
		"number of letters": `{"msg":"part committed","cluster":"east","epoch":"x","seq":1,"items":1}`,
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ReadLog("n", strings.NewReader(line+"\n"))
			require.ErrorContains(t, err, "log of n, line 1: ")
		})
	}
}
