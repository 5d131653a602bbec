package isthmus

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestBoundAddrs(t *testing.T) {
	tests := []struct {
		name  string
		hosts []string
		want  serverAddrs
	}{
		{"loopback if there is nothing else", []string{"127.0.0.1", "::1"}, addrs("127.0.0.1", "::1")},
		{"else not", []string{"127.0.0.1", "192.0.2.1", "2001:db8::1"}, addrs("192.0.2.1", "2001:db8::1")},
		{"no link-local", []string{"192.0.2.1", "fe80::1%eth0"}, addrs("192.0.2.1")},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			require.Equal(t, tc.want, boundAddrs(tc.hosts))
		})
	}
	for _, everywhere := range [][]string{{""}, {"0.0.0.0"}, {"::"}} {
		got := boundAddrs(everywhere)
		require.NotEmpty(t, got, "a machine has loopback at least")
		for _, a := range got {
			require.False(t, a.IsUnspecified())
		}
	}
}
