package manifest_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/discovery/manifest"
)

// BenchmarkLoad reads one file of 2,000 Services with two endpoints each.
func BenchmarkLoad(b *testing.B) {
	var text strings.Builder
	for i := range 2000 {
		name := fmt.Sprintf("svc-%d", i)
		text.WriteString(docs(serviceYAML(name), sliceYAML(name, 2), ""))
	}
	dir := b.TempDir()
	write(b, dir, "all.yaml", text.String())
	b.SetBytes(int64(text.Len()))
	b.ReportAllocs()
	for b.Loop() {
		problems, err := manifest.Load(dir)
		require.NoError(b, err)
		require.Empty(b, problems)
	}
}
