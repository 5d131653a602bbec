package config

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var fenced = regexp.MustCompile("(?s)```yaml\n(.*?)```")

// TestExamples: what documents say of watcher.yaml is accepted.
func TestExamples(t *testing.T) {
	root := filepath.Join("..", "..", "..", "..")
	found := 0
	for _, name := range []string{"cmd/isthmus/README.md", "deploy/README.md"} {
		text, err := os.ReadFile(filepath.Join(root, name))
		require.NoError(t, err)
		for _, m := range fenced.FindAllStringSubmatch(string(text), -1) {
			example := m[1]
			if strings.HasPrefix(example, "apiVersion:") {
				continue
			}
			if !strings.HasPrefix(example, "clusterset:") {
				example = strings.Join(base, "\n") + "\n" + example
			}
			_, err := Parse("watcher.yaml", []byte(example))
			require.NoError(t, err, "%s:\n%s", name, example)
			found++
		}
	}
	require.GreaterOrEqual(t, found, 5)
}
