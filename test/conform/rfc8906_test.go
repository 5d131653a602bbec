package conform

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestPackets sends each packet and wants the reply that the table has: what
// RFC 8906 asks for, or a deviation that the README tells of.
func TestPackets(t *testing.T) {
	a := serve(t, NewModel(), "")
	known := map[string]bool{}
	for _, p := range Packets() {
		require.False(t, known[p.Name], "%q is there twice", p.Name)
		known[p.Name] = true
		for _, network := range []string{"udp", "tcp"} {
			want := Replies[p.Name]
			if over, differs := OverTCP[p.Name]; differs && network == "tcp" {
				want = over
			}
			t.Run(p.Name+"/"+network, func(t *testing.T) {
				if want == "-" {
					require.NoError(t, Unanswered(network, a.DNS, p.Octets))
					return
				}
				reply, err := Exchange(network, a.DNS, p.Octets)
				require.NoError(t, err)
				require.Equal(t, want, Describe(reply))
			})
		}
	}
	for name := range Replies {
		require.True(t, known[name], "no packet is %q", name)
	}
	require.True(t, a.Agent.Running())
}

// TestReadme: the README's tables are the tests' tables.
func TestReadme(t *testing.T) {
	text, err := os.ReadFile("README.md")
	require.NoError(t, err)
	var got, want []string
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "| ") && !strings.HasPrefix(line, "| what ") {
			got = append(got, strings.TrimSuffix(line, "\n"))
		}
	}
	for _, d := range Deviations {
		want = append(want, fmt.Sprintf("| %s | %s | %s | %s |", d.Packet, Replies[d.Packet], d.Wanted, d.Why))
	}
	for _, d := range Differences {
		want = append(want, fmt.Sprintf("| %s | %s |", d.Name, d.What))
	}
	require.Equal(t, want, got)
}
