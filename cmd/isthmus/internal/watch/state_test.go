package watch

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestUIDIsMadeOnce(t *testing.T) {
	s := state{dir: filepath.Join(t.TempDir(), "a", "b")}
	first, err := s.uid()
	require.NoError(t, err)
	require.NotEmpty(t, first)
	again, err := s.uid()
	require.NoError(t, err)
	require.Equal(t, first, again)
}

func TestEpochsOnlyRise(t *testing.T) {
	s := state{dir: t.TempDir()}
	for _, tt := range []struct{ atLeast, want uint64 }{{0, 1}, {0, 2}, {40, 41}, {7, 42}} {
		got, err := s.NextEpoch(t.Context(), tt.atLeast)
		require.NoError(t, err)
		require.Equal(t, tt.want, got)
	}
}

func TestNoEpochIsGivenTwice(t *testing.T) {
	dir := t.TempDir()
	var mu sync.Mutex
	var wg sync.WaitGroup
	given := map[uint64]bool{}
	for range 8 {
		wg.Go(func() {
			for range 4 {
				epoch, err := state{dir: dir}.NextEpoch(t.Context(), 0)
				mu.Lock()
				if err != nil || given[epoch] {
					t.Errorf("epoch %d: %v", epoch, err)
				}
				given[epoch] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	require.Len(t, given, 32)
}

func TestBrokenStateIsSaid(t *testing.T) {
	for _, tt := range []struct{ name, file, text, want string }{
		{"no number", epochFile, "seven", "is no number; remove it"},
		{"the last number", epochFile, "18446744073709551615", "no number is left"},
		{"negative", epochFile, "-1", "is no number; remove it"},
		{"long", epochFile, strings.Repeat("1", 300), "is longer than 256 octets; remove it"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := state{dir: t.TempDir()}
			require.NoError(t, os.WriteFile(filepath.Join(s.dir, tt.file), []byte(tt.text), 0o600))
			_, err := s.NextEpoch(t.Context(), 0)
			require.ErrorContains(t, err, tt.want)
			require.ErrorContains(t, err, filepath.Join(s.dir, tt.file))
		})
	}
	t.Run("folder can't be made", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "file")
		require.NoError(t, os.WriteFile(file, nil, 0o600))
		_, err := state{dir: filepath.Join(file, "state")}.uid()
		require.Error(t, err)
	})
}
