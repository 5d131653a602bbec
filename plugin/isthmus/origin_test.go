package isthmus

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestOrigins(t *testing.T) {
	for key, want := range map[string]string{
		"Global":                  "global.:53",
		"dns://shop.example:1053": "shop.example.:1053",
		"tls://.":                 "tls://.:853",
		"https://x":               "https://x.:443",
		"grpc://x":                "grpc://x.:443",
		"quic://x":                "quic://x.:853",
		"10.0.0.0/8":              "10.in-addr.arpa.:53",
	} {
		all := Origins(key)
		require.Len(t, all, 1, key)
		require.Equal(t, want, all[0].String())
	}
	require.Len(t, Origins("a", "b:1"), 2)
	require.Empty(t, Origins(":1053", "a:"), "refused by CoreDNS")
}
