package kube_test

import (
	"math"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/isthmus-dns/isthmus/discovery/kube"
)

func TestNextEpoch(t *testing.T) {
	c := startCluster(t)
	maps := c.Client().CoreV1().ConfigMaps(namespace)

	t.Run("ten callers never get the same", func(t *testing.T) {
		const callers, each = 10, 5
		var wg sync.WaitGroup
		var mu sync.Mutex
		var all []uint64
		for range callers {
			source := newSource(t, watcher(c))
			wg.Go(func() {
				last := uint64(0)
				for range each {
					epoch, err := source.NextEpoch(t.Context(), 0)
					if err != nil || epoch <= last {
						t.Errorf("epoch %d after %d: %v", epoch, last, err)
						return
					}
					last = epoch
					mu.Lock()
					all = append(all, epoch)
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		slices.Sort(all)
		require.Len(t, slices.Compact(all), callers*each)
		require.Equal(t, uint64(1), all[0])
		require.Equal(t, uint64(callers*each), all[len(all)-1], "none is left out")
	})

	source := newSource(t, watcher(c))
	t.Run("rises above what was seen", func(t *testing.T) {
		got, err := source.NextEpoch(t.Context(), 1000)
		require.NoError(t, err)
		require.Equal(t, uint64(1001), got)
		got, err = source.NextEpoch(t.Context(), 5)
		require.NoError(t, err)
		require.Equal(t, uint64(1002), got)
	})
	t.Run("starts above what was seen when the ConfigMap is gone", func(t *testing.T) {
		require.NoError(t, maps.Delete(t.Context(), kube.EpochName, metav1.DeleteOptions{}))
		got, err := source.NextEpoch(t.Context(), 1002)
		require.NoError(t, err)
		require.Equal(t, uint64(1003), got)
	})
	for name, stored := range map[string]string{
		"not a number": "ten", "negative": "-1", "too large": "18446744073709551616", "none left": "18446744073709551615",
	} {
		t.Run("refuses what is "+name, func(t *testing.T) {
			_, err := maps.Update(t.Context(), &corev1.ConfigMap{
				ObjectMeta: metav1.ObjectMeta{Name: kube.EpochName}, Data: map[string]string{"epoch": stored},
			}, metav1.UpdateOptions{})
			require.NoError(t, err)
			_, err = source.NextEpoch(t.Context(), 7)
			require.ErrorContains(t, err, "epoch")
			left, err := maps.Get(t.Context(), kube.EpochName, metav1.GetOptions{})
			require.NoError(t, err)
			require.Equal(t, stored, left.Data["epoch"], "what is refused stays to be looked at")
		})
	}
	t.Run("refuses to wrap around", func(t *testing.T) {
		_, err := maps.Update(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: kube.EpochName}}, metav1.UpdateOptions{})
		require.NoError(t, err)
		_, err = source.NextEpoch(t.Context(), math.MaxUint64)
		require.ErrorContains(t, err, "no number is left")
	})
	t.Run("is an error without an API server", func(t *testing.T) {
		c.StopAPI()
		_, err := source.NextEpoch(t.Context(), 0)
		require.Error(t, err)
	})
}
