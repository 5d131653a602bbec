package manifest

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is something wrong in a directory of manifests.
type Problem struct {
	File string // the file's name in the directory; "" for the directory itself
	Line int    // from 1; 0 when it concerns the file as a whole
	Text string
}

// String is "file.yaml:12: text", the form that editors can jump to.
func (p Problem) String() string {
	switch {
	case p.File == "":
		return p.Text
	case p.Line == 0:
		return p.File + ": " + p.Text
	}
	return fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Text)
}

// maxProblems per file: enough to mend a file in one round, and no flood from
// one that is not what it seems.
const maxProblems = 20

// lineError is a fault at a line of a file whose name is not known yet.
type lineError struct {
	line int
	text string
}

func (e *lineError) Error() string { return fmt.Sprintf("line %d: %s", e.line, e.text) }

func faultf(line int, format string, args ...any) *lineError {
	return &lineError{line: line, text: clip(fmt.Sprintf(format, args...))}
}

// clip keeps foreign text short in logs.
func clip(s string) string {
	const enough = 300
	if len(s) > enough {
		s = s[:enough] + "…"
	}
	return strings.ToValidUTF8(s, "?")
}

func problemsOf(file string, faults []*lineError) []Problem {
	var out []Problem
	for _, f := range faults[:min(len(faults), maxProblems)] {
		out = append(out, Problem{File: file, Line: f.line, Text: f.text})
	}
	sortProblems(out)
	return out
}

func sortProblems(problems []Problem) {
	slices.SortStableFunc(problems, func(x, y Problem) int {
		return cmp.Or(strings.Compare(x.File, y.File), cmp.Compare(x.Line, y.Line))
	})
}
