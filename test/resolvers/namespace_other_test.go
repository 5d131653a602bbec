//go:build !linux

package resolvers

func furnish() error { return nil }
