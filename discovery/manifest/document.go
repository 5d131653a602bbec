package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// document is one YAML or JSON document as JSON, with the way back from an
// offset in it to the line of its file.
type document struct {
	json []byte
	line func(offset int) int
}

// maxTokens bounds what the YAML parser allocates: some 200 octets per node,
// at most two nodes per comma, line or bracket. Real manifests of MaxFileSize
// have 300,000 lines.
const maxTokens = 600_000

// documents splits a file. What stands before the fault is returned with it,
// for `isthmus check`; the file counts as broken all the same.
func documents(name string, data []byte) ([]document, *lineError) {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	if strings.HasSuffix(name, ".json") {
		return jsonDocuments(data)
	}
	tokens := 0
	for _, c := range data {
		if c == '\n' || c == ',' || c == '[' || c == '{' {
			tokens++
		}
	}
	if tokens > maxTokens {
		return nil, faultf(0, "more than %d lines, commas and brackets: split it", maxTokens)
	}
	return yamlDocuments(data)
}

func yamlDocuments(data []byte) (out []document, fault *lineError) {
	// The parser is not ours and the text is foreign.
	defer func() {
		if p := recover(); p != nil {
			fault = faultf(0, "YAML parser gave up: %v", p)
		}
	}()
	dec := yaml.NewDecoder(bytes.NewReader(data))
	for {
		var node yaml.Node
		err := dec.Decode(&node)
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return out, yamlFault(data, err)
		}
		doc, fault := convert(&node)
		if fault != nil {
			return out, fault
		}
		if doc.json != nil {
			out = append(out, doc)
		}
	}
}

// jsonDocuments reads one or more JSON values behind one another.
func jsonDocuments(data []byte) ([]document, *lineError) {
	lines := newlines(data)
	dec := json.NewDecoder(bytes.NewReader(data))
	var out []document
	for {
		before := dec.InputOffset()
		var raw json.RawMessage
		err := dec.Decode(&raw)
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return out, jsonFault(data, int(before), err, lines)
		}
		start := int(dec.InputOffset()) - len(raw)
		out = append(out, document{json: raw, line: func(offset int) int { return lines(start + offset) }})
	}
}

// jsonFault finds where a value is broken: the Decoder does not tell, so the
// rest is parsed once more in one piece.
func jsonFault(data []byte, start int, err error, lines func(int) int) *lineError {
	rest := data[start:]
	var raw json.RawMessage
	var syntax *json.SyntaxError
	if again := json.Unmarshal(rest, &raw); errors.As(again, &syntax) {
		return faultf(lines(start+int(syntax.Offset)-1), "%v", syntax)
	}
	return faultf(lines(start), "%v", err)
}

// newlines makes the map from offsets to lines.
func newlines(data []byte) func(offset int) int {
	var ends []int
	for i, c := range data {
		if c == '\n' {
			ends = append(ends, i)
		}
	}
	return func(offset int) int {
		i, _ := slices.BinarySearch(ends, offset)
		return i + 1
	}
}

// span is where a value stands in a document.
type span struct{ start, end int }

// listItems finds the items of a v1 List.
func listItems(doc document) ([]document, error) {
	dec := json.NewDecoder(bytes.NewReader(doc.json))
	if _, err := dec.Token(); err != nil {
		return nil, fmt.Errorf("list: %w", err)
	}
	var spans []span
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return nil, fmt.Errorf("list: %w", err)
		}
		if key != "items" {
			var skip json.RawMessage
			if err := dec.Decode(&skip); err != nil {
				return nil, fmt.Errorf("list: %w", err)
			}
			continue
		}
		if spans, err = itemSpans(dec); err != nil {
			return nil, err
		}
	}
	out := make([]document, 0, len(spans))
	for _, s := range spans {
		out = append(out, document{json: doc.json[s.start:s.end], line: func(offset int) int { return doc.line(s.start + offset) }})
	}
	return out, nil
}

func itemSpans(dec *json.Decoder) ([]span, error) {
	switch open, err := dec.Token(); {
	case err != nil:
		return nil, fmt.Errorf("list items: %w", err)
	case open == nil: // items: null, an empty list in Go's JSON
		return nil, nil
	case open != json.Delim('['):
		return nil, errors.New("list items are not a list")
	}
	var spans []span
	for dec.More() {
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return nil, fmt.Errorf("list items: %w", err)
		}
		end := int(dec.InputOffset())
		spans = append(spans, span{end - len(raw), end})
	}
	_, err := dec.Token()
	return spans, err
}
