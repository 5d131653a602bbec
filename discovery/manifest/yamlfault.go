package manifest

import (
	"bytes"
	"errors"
	"io"
	"sort"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// yamlFault takes the line out of the parser's message "yaml: line 3: text".
func yamlFault(data []byte, err error) *lineError {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	line := 0
	if rest, ok := strings.CutPrefix(text, "line "); ok {
		if digits, message, ok := strings.Cut(rest, ": "); ok {
			if n, err := strconv.Atoi(digits); err == nil {
				line, text = n, message
			}
		}
	}
	if isGrammar(text) {
		line++ // the library counts the lines of these from 0
	}
	if isBlock(text) && len(data) <= maxRefine {
		line = refine(data, err)
	}
	// The end of the text counts as a line of its own there.
	return faultf(min(line, max(1, bytes.Count(bytes.TrimSuffix(data, []byte("\n")), []byte("\n"))+1)), "%s", text)
}

// isGrammar tells errors of the parser from those of the scanner below it.
func isGrammar(text string) bool {
	for _, prefix := range []string{
		"did not find expected <", "did not find expected node content", "did not find expected ',' or",
		"found undefined tag handle", "found duplicate %", "found incompatible",
	} {
		if strings.HasPrefix(text, prefix) {
			return true
		}
	}
	return isBlock(text)
}

// isBlock tells the errors of wrong indentation. For these the library gives
// the line where the block begins, which may be a hundred lines above.
func isBlock(text string) bool {
	return strings.HasPrefix(text, "did not find expected key") || strings.HasPrefix(text, "did not find expected '-' indicator")
}

// maxRefine keeps the repeated parsing of a broken file to some milliseconds.
const maxRefine = 256 << 10

// refine finds the line of an error: the shortest beginning of the text, in
// lines, that has the same error. Every longer one has it too.
func refine(data []byte, err error) int {
	var ends []int
	for i, c := range data {
		if c == '\n' {
			ends = append(ends, i+1)
		}
	}
	ends = append(ends, len(data))
	return 1 + sort.Search(len(ends)-1, func(i int) bool {
		again := yamlError(data[:ends[i]])
		return again != nil && again.Error() == err.Error()
	})
}

func yamlError(data []byte) error {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	for {
		var node yaml.Node
		if err := dec.Decode(&node); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}
