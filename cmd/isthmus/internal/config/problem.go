package config

import (
	"fmt"
	"slices"
	"strings"
)

// Problem is one mistake in a file. Its text is one line.
type Problem struct {
	File string
	Line int // from 1; 0 when the whole file is meant
	Text string
}

// Error is "file:line: text".
func (p Problem) Error() string {
	if p.Line == 0 {
		return p.File + ": " + p.Text
	}
	return fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Text)
}

// Problems are all mistakes of a file, in the order of its lines.
type Problems []Problem

// Error has one problem a line.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}

// Problem is for what only shows when the configuration is used: an error that
// names the file and the line of the field, given by its path as in
// "gossip.listen". A field that was left out has the line of the nearest
// field around it.
func (c *Config) Problem(path, format string, args ...any) error {
	return Problem{File: c.file, Line: c.line(path), Text: oneLine(path + ": " + fmt.Sprintf(format, args...))}
}

func (c *Config) line(path string) int {
	for path != "" {
		if line, ok := c.lines[path]; ok {
			return line
		}
		path = outer(path)
	}
	return 0
}

func (ps Problems) sorted() Problems {
	slices.SortStableFunc(ps, func(a, b Problem) int { return a.Line - b.Line })
	return ps
}

// oneLine keeps a problem on its line, whatever the file's text brings.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\r' || r == '\u2028' || r == '\u2029' || r == '\u0085' {
			return ' '
		}
		return r
	}, s)
}
