package manifest

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	kjson "sigs.k8s.io/json"
)

// decodeFault gives an error of the JSON decoder its line, and the words of
// somebody who writes YAML.
func decodeFault(doc document, err error) *lineError {
	var wrongType *json.UnmarshalTypeError
	if errors.As(err, &wrongType) {
		// Offset is just behind the value (behind its opening bracket).
		at := doc.line(max(int(wrongType.Offset)-1, 0))
		return faultf(at, "%s", typeText(wrongType))
	}
	if syntax, offset := kjson.SyntaxErrorOffset(err); syntax {
		return faultf(doc.line(max(int(offset)-1, 0)), "%v", err)
	}
	return faultf(doc.line(0), "%s", strings.TrimPrefix(err.Error(), "json: "))
}

func typeText(e *json.UnmarshalTypeError) string {
	want := ""
	if e.Type != nil {
		want = strings.TrimPrefix(e.Type.String(), "*")
	}
	hint := ""
	if want == "string" && (e.Value == "bool" || strings.HasPrefix(e.Value, "number")) {
		hint = " (put it in quotes)"
	}
	return fmt.Sprintf("field %s: is a %s, want %s%s", e.Field, e.Value, want, hint)
}
