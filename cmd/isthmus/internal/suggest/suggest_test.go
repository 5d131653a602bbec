package suggest

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNearest(t *testing.T) {
	known := []string{"locality", "gateways", "gossip", "tls", "state", "http", "port"}
	for _, tt := range []struct{ unknown, want string }{
		{"localty", "locality"},
		{"Locality", "locality"},
		{"gosip", "gossip"},
		{"gate", "gateways"}, // its beginning, before "state" at two edits
		{"statefile", "state"},
		{"prot", "port"},
		{"tsl", ""}, // two edits of three letters
		{"tl", "tls"},
		{"replicas", ""},
		{"", ""},
		{strings.Repeat("locality", 100), ""},
	} {
		t.Run(tt.unknown[:min(len(tt.unknown), 20)], func(t *testing.T) {
			require.Equal(t, tt.want, Nearest(tt.unknown, known))
		})
	}
}

func TestDistance(t *testing.T) {
	require.Equal(t, 3, distance("kitten", "sitting"))
	require.Equal(t, 4, distance("", "port"))
	require.Equal(t, 0, distance("port", "port"))
}
