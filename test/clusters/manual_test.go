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

// example is the name of the cluster that the manual shows things by.
const example = "west"

// manual is the text of deploy/README.md. Tests type its commands and fill its
// blocks in; what it no longer says they can't do.
type manual string

func readManual(t testing.TB) manual {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(deploy, "README.md"))
	require.NoError(t, err)
	return manual(text)
}

// command requires that the line is one to be typed, a remark after it aside.
func (m manual) command(t testing.TB, line string) {
	t.Helper()
	for typed := range strings.Lines(string(m)) {
		typed, indented := strings.CutPrefix(typed, "    ")
		typed, _, _ = strings.Cut(typed, "  #")
		if indented && strings.TrimSpace(typed) == line {
			return
		}
	}
	require.Fail(t, "deploy/README.md does not have the command", line)
}

// block is the fenced block that has the text in it.
func (m manual) block(t testing.TB, with string) string {
	t.Helper()
	for _, fence := range []string{"```", "~~~"} {
		for i, part := range strings.Split("\n"+string(m), "\n"+fence) {
			if _, text, _ := strings.Cut(part, "\n"); i%2 == 1 && strings.Contains(text, with) {
				return text + "\n"
			}
		}
	}
	require.Fail(t, "deploy/README.md has no block with", with)
	return ""
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
