package isthmus

import (
	"context"
	"log/slog"
	"strconv"
	"strings"
	"unicode"

	clog "github.com/coredns/coredns/plugin/pkg/log"
)

var log = clog.NewWithPlugin(pluginName)

// logHandler lets packages that log through slog write CoreDNS's log lines.
type logHandler struct {
	attrs string // " key=value …", already formatted
	group string // "group." before each key
}

func newLogger() *slog.Logger { return slog.New(logHandler{}) }

// Enabled leaves out debug lines unless CoreDNS's debug plugin is on.
func (logHandler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= slog.LevelInfo || clog.D.Value()
}

// Handle writes one record at CoreDNS's level that is nearest below.
func (h logHandler) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	b.WriteString(r.Message)
	b.WriteString(h.attrs)
	r.Attrs(func(a slog.Attr) bool {
		h.write(&b, a)
		return true
	})
	switch {
	case r.Level >= slog.LevelError:
		log.Error(b.String())
	case r.Level >= slog.LevelWarn:
		log.Warning(b.String())
	case r.Level >= slog.LevelInfo:
		log.Info(b.String())
	default:
		log.Debug(b.String())
	}
	return nil
}

// WithAttrs implements slog.Handler.
func (h logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	var b strings.Builder
	b.WriteString(h.attrs)
	for _, a := range attrs {
		h.write(&b, a)
	}
	h.attrs = b.String()
	return h
}

// WithGroup implements slog.Handler.
func (h logHandler) WithGroup(name string) slog.Handler {
	if name != "" {
		h.group += name + "."
	}
	return h
}

func (h logHandler) write(b *strings.Builder, a slog.Attr) {
	// The text handler quotes what needs it; ours writes the same form. What
	// other clusters bring must not steer the terminal that shows it.
	value := a.Value.Resolve().String()
	if value == "" || strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r == '"' || r == '=' || !unicode.IsPrint(r) }) {
		value = strconv.Quote(value)
	}
	b.WriteString(" " + h.group + a.Key + "=" + value)
}
