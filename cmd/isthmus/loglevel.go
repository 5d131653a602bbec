package main

import (
	"errors"
	"log/slog"
)

// logLevel is a flag of both flag packages.
type logLevel slog.Level

const logLevelUsage = "least level that is logged: debug, info, warn or error"

// Set reads a level's name. What slog reads besides, as in "warn+2", is nothing
// that anything is logged at.
func (l *logLevel) Set(s string) error {
	var level slog.Level
	switch err := level.UnmarshalText([]byte(s)); {
	case err != nil, level%4 != 0, level < slog.LevelDebug, level > slog.LevelError:
		return errors.New("want debug, info, warn or error")
	}
	*l = logLevel(level)
	return nil
}

// String is the level's name, for the help's "default".
func (l *logLevel) String() string { return slog.Level(*l).String() }

// Type is what the help shows after the flag.
func (l *logLevel) Type() string { return "level" }
