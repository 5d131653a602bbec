package manifest

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
)

// locate finds the offset of the field that a path like
// "spec.ports[0].targetprot" names, of several equal ones the last (a
// duplicate's second). What can't be found gives the offset of its nearest
// ancestor: it only serves to show a line.
func locate(doc []byte, path string) int {
	w := &walker{dec: json.NewDecoder(bytes.NewReader(doc))}
	w.walk(path)
	return w.found
}

// walker follows a path through the tokens of a JSON text that was parsed
// before, so an error ends the walk where it stands.
type walker struct {
	dec   *json.Decoder
	found int
}

// walk reads one value; path is what remains to be found in it. It tells
// whether it may go on.
func (w *walker) walk(path string) bool {
	token, err := w.dec.Token()
	if err != nil {
		return false
	}
	switch token {
	case json.Delim('{'):
		return w.object(path)
	case json.Delim('['):
		return w.array(path)
	}
	return true
}

func (w *walker) object(path string) bool {
	for w.dec.More() {
		token, err := w.dec.Token()
		key, isText := token.(string)
		if err != nil || !isText {
			return false
		}
		rest, match := cutKey(path, key)
		if !match {
			if !w.skip() {
				return false
			}
			continue
		}
		// The offset just behind the key, less its closing quote.
		w.found = int(w.dec.InputOffset()) - 1
		if rest == "" {
			if !w.skip() {
				return false
			}
		} else if !w.walk(rest) {
			return false
		}
	}
	_, err := w.dec.Token()
	return err == nil
}

func (w *walker) array(path string) bool {
	index, rest := -1, ""
	if inner, ok := strings.CutPrefix(path, "["); ok {
		if digits, after, ok := strings.Cut(inner, "]"); ok {
			if n, err := strconv.Atoi(digits); err == nil {
				index, rest = n, strings.TrimPrefix(after, ".")
			}
		}
	}
	for i := 0; w.dec.More(); i++ {
		if i != index {
			if !w.skip() {
				return false
			}
			continue
		}
		w.found = int(w.dec.InputOffset())
		if !w.walk(rest) {
			return false
		}
	}
	_, err := w.dec.Token()
	return err == nil
}

func (w *walker) skip() bool {
	var raw json.RawMessage
	return w.dec.Decode(&raw) == nil
}

// cutKey takes a key off the front of a path. Keys of labels hold dots, so
// the key decides, not the next dot.
func cutKey(path, key string) (rest string, match bool) {
	if key == "" || !strings.HasPrefix(path, key) {
		return "", false
	}
	rest = path[len(key):]
	switch {
	case rest == "":
		return "", true
	case rest[0] == '.':
		return rest[1:], true
	case rest[0] == '[':
		return rest, true
	}
	return "", false
}
