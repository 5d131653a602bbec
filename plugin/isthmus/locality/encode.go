package locality

import (
	"encoding/json"
	"fmt"
)

// Encode is a routing policy as a watcher hands it to its agents; "" for the
// default.
func (r Routing) Encode() (string, error) {
	text, err := json.Marshal(r)
	if err != nil {
		return "", fmt.Errorf("routing: %w", err)
	}
	if string(text) == empty {
		return "", nil
	}
	return string(text), nil
}

// empty is the default, encoded.
var empty = func() string {
	text, _ := json.Marshal(Routing{})
	return string(text)
}()

// DecodeRouting is the inverse of Encode. Fields that this version doesn't know
// are left out: a watcher may be newer than its agents.
func DecodeRouting(text string) (r Routing, err error) {
	if text == "" {
		return Routing{}, nil
	}
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		return Routing{}, fmt.Errorf("routing: %w", err)
	}
	return r, nil
}
