package gossip

import (
	"bytes"
	"context"
	"log"
	"log/slog"
	"strings"
	"sync/atomic"

	"golang.org/x/time/rate"
)

// memberlist logs a line for what any peer does wrong. Ten a second are
// enough to see it, and don't fill a disk.
const (
	logRate  = 10
	logBurst = 50
)

// logWriter turns memberlist's lines, "[WARN] memberlist: text", into records.
type logWriter struct {
	log     *slog.Logger
	limit   *rate.Limiter
	dropped atomic.Int64
	closed  atomic.Bool
}

func newLogWriter(l *slog.Logger) *logWriter {
	return &logWriter{log: l, limit: rate.NewLimiter(logRate, logBurst)}
}

func (w *logWriter) logger() *log.Logger { return log.New(w, "", 0) }

// Write takes one line.
func (w *logWriter) Write(line []byte) (int, error) {
	if w.closed.Load() {
		return len(line), nil
	}
	level, text := parseLine(string(bytes.TrimSpace(line)))
	if !w.log.Enabled(context.Background(), level) {
		return len(line), nil
	}
	if !w.limit.Allow() {
		w.dropped.Add(1)
		return len(line), nil
	}
	attrs := []slog.Attr{slog.String("event", text)}
	if n := w.dropped.Swap(0); n > 0 {
		attrs = append(attrs, slog.Int64("lines_left_out", n))
	}
	w.log.LogAttrs(context.Background(), level, "memberlist", attrs...)
	return len(line), nil
}

// parseLine takes the level off a line. memberlist's errors are warnings to
// us: they tell of one peer's failure, and the pool goes on.
func parseLine(line string) (slog.Level, string) {
	level := slog.LevelInfo
	if tag, rest, ok := strings.Cut(line, "] "); ok && strings.HasPrefix(tag, "[") {
		line = rest
		switch tag[1:] {
		case "DEBUG":
			level = slog.LevelDebug
		case "WARN", "ERR", "ERROR":
			level = slog.LevelWarn
		}
	}
	line = strings.TrimPrefix(line, "memberlist: ")
	if strings.HasPrefix(line, "Binding to public address without encryption") {
		level = slog.LevelDebug // encryption is the Transport's, which memberlist can't know
	}
	return level, line
}
