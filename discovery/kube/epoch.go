package kube

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// EpochName is the ConfigMap that keeps the last epoch that was given out,
// as a decimal number under epochKey.
const (
	EpochName = "isthmus-epoch"
	epochKey  = "epoch"
)

// errForestalled says that another writer was faster.
var errForestalled = errors.New("another writer was faster")

// NextEpoch gives out max(stored, atLeast) + 1 and returns it when it is
// stored, by compare-and-swap on the ConfigMap's resourceVersion: no two calls
// of any replica ever get the same. atLeast is the highest epoch of this
// cluster seen anywhere, so that an etcd restored from a backup, or a deleted
// ConfigMap, leads to no second use. A stored value that is not a number is an
// error: what it was before is for the operator to say.
func (s *Source) NextEpoch(ctx context.Context, atLeast uint64) (uint64, error) {
	for {
		next, err := s.tryEpoch(ctx, atLeast)
		if !errors.Is(err, errForestalled) {
			return next, err
		}
		s.metrics.epochConflicts.Inc()
		if err := ctx.Err(); err != nil {
			return 0, fmt.Errorf("epoch: %w", err)
		}
	}
}

func (s *Source) tryEpoch(ctx context.Context, atLeast uint64) (uint64, error) {
	maps := s.cfg.Client.CoreV1().ConfigMaps(s.cfg.Namespace)
	stored, err := maps.Get(ctx, EpochName, metav1.GetOptions{})
	missing := apierrors.IsNotFound(err)
	if err != nil && !missing {
		return 0, fmt.Errorf("epoch: %w", err)
	}
	if missing {
		stored = &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: EpochName}}
	}
	next, err := nextEpoch(stored.Data, atLeast)
	if err != nil {
		return 0, err
	}
	if stored.Data == nil {
		stored.Data = map[string]string{}
	}
	stored.Data[epochKey] = strconv.FormatUint(next, 10)
	if missing {
		_, err = maps.Create(ctx, stored, metav1.CreateOptions{})
	} else {
		_, err = maps.Update(ctx, stored, metav1.UpdateOptions{}) // with the resourceVersion that was read
	}
	switch {
	case err == nil:
		return next, nil
	case apierrors.IsConflict(err), apierrors.IsAlreadyExists(err), !missing && apierrors.IsNotFound(err):
		return 0, errForestalled
	}
	return 0, fmt.Errorf("epoch: %w", err)
}

// nextEpoch is one above what is stored and what was seen.
func nextEpoch(data map[string]string, atLeast uint64) (uint64, error) {
	last := atLeast
	if text, ok := data[epochKey]; ok {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("epoch in ConfigMap %s: %w (put the last epoch there, or delete the ConfigMap)", EpochName, err)
		}
		last = max(last, n)
	}
	if last == math.MaxUint64 {
		return 0, errors.New("epoch: no number is left above the last one")
	}
	return last + 1, nil
}
