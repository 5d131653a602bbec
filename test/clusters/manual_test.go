package clusters

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// deploy is the folder that the manual is in.
var deploy = filepath.Join("..", "..", "deploy")

// manual is the text of deploy/README.md, whose commands the tests type.
type manual string

func readManual(t testing.TB) manual {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(deploy, "README.md"))
	require.NoError(t, err)
	return manual(text)
}

// commands are those under a heading, in their order.
func (m manual) commands(t testing.TB, heading string) []string {
	t.Helper()
	_, section, found := strings.Cut(string(m), "\n"+heading+"\n")
	require.True(t, found, "deploy/README.md has no %q", heading)
	section, _, _ = strings.Cut(section, "\n#")
	var all []string
	for line := range strings.Lines(section) {
		if command, indented := strings.CutPrefix(line, "    "); indented {
			all = append(all, strings.TrimSpace(command))
		}
	}
	require.NotEmpty(t, all, heading)
	return all
}

// replace replaces what must be there.
func replace(t testing.TB, text string, pairs ...string) string {
	t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		require.Contains(t, text, pairs[i])
		text = strings.ReplaceAll(text, pairs[i], pairs[i+1])
	}
	return text
}
