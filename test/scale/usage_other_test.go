//go:build !linux

package scale

import (
	"errors"
	"time"
)

type usage struct {
	resident, peak int64
	file           int64
	processor      time.Duration
	threads        int
}

func usageOf(int) (usage, error) { return usage{}, errors.ErrUnsupported }
