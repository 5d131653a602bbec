package manifest

import (
	"bytes"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/discovery/export"
)

// FuzzFile reads any text as a manifest and builds what it says. Seeds stand
// under testdata/fuzz.
func FuzzFile(f *testing.F) {
	f.Fuzz(func(t *testing.T, isJSON bool, data []byte) {
		name := "a.yaml"
		if isJSON {
			name = "a.json"
		}
		got := parse(name, data)
		lines := bytes.Count(data, []byte("\n")) + 1 + bytes.Count(data, []byte("\r")) + bytes.Count(data, []byte("\u0085")) +
			bytes.Count(data, []byte("\u2028")) + bytes.Count(data, []byte("\u2029")) // YAML's line breaks
		for _, p := range problemsOf(name, got.faults) {
			require.GreaterOrEqual(t, p.Line, 0)
			require.LessOrEqual(t, p.Line, lines, p)
			require.Less(t, len(p.Text), 400)
		}
		inv := newInventory()
		inv.put(name, got.objects)
		p := &part{
			cluster: func([]*corev1.Node) *discovery.Cluster { return nil }, options: export.Options{All: true, SharesNetwork: true},
			log: slog.New(slog.DiscardHandler), emitted: map[discovery.Key]fingerprint{}, notes: map[discovery.Key]string{},
		}
		update, _ := p.update(inv, true)
		for _, s := range update.Services {
			require.NoError(t, s.Validate())
		}
		inv.put(name, nil)
		require.Empty(t, inv.claims)
		require.Empty(t, inv.slices)
		require.Empty(t, inv.byFile)
		gone, _ := p.update(inv, false)
		require.Len(t, gone.Removed, len(update.Services))
		require.Empty(t, gone.Services)
	})
}
