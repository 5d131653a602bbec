package manifest

import (
	"encoding/json"
	"math"
	"slices"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// Bounds on what a YAML document becomes. Aliases make a small text large
// ("billion laughs") and merge keys make it slow.
const (
	// maxDepth: a Kubernetes object is some 15 levels deep.
	maxDepth = 100
	// maxJSON is four times the largest file: JSON repeats no anchors.
	maxJSON = 4 * MaxFileSize
	// maxSteps is twice the nodes that maxTokens allows.
	maxSteps = 4 * maxTokens
)

// converter writes a YAML node as JSON and notes which line each piece is
// from. Types are resolved as kubectl does, by YAML 1.1's rules for booleans.
type converter struct {
	out   []byte
	marks []mark
	steps int
}

// mark says that the JSON from an offset on stems from a line.
type mark struct{ offset, line int }

// convert returns a document without JSON for one that is empty.
func convert(root *yaml.Node) (document, *lineError) {
	if root.Kind == yaml.DocumentNode {
		if len(root.Content) == 0 {
			return document{}, nil
		}
		root = root.Content[0]
	}
	if root.Kind == yaml.ScalarNode && root.ShortTag() == "!!null" {
		return document{}, nil
	}
	c := &converter{}
	if fault := c.value(root, 0); fault != nil {
		return document{}, fault
	}
	marks := c.marks
	return document{json: c.out, line: func(offset int) int {
		i, found := slices.BinarySearchFunc(marks, offset, func(m mark, o int) int { return m.offset - o })
		if !found {
			i--
		}
		return marks[max(i, 0)].line
	}}, nil
}

func (c *converter) mark(n *yaml.Node) {
	if len(c.marks) == 0 || c.marks[len(c.marks)-1].line != n.Line {
		c.marks = append(c.marks, mark{offset: len(c.out), line: n.Line})
	}
}

// spend is called per node, also for those that merging visits in vain.
func (c *converter) spend(n *yaml.Node, depth int) *lineError {
	c.steps++
	switch {
	case depth > maxDepth:
		return faultf(n.Line, "nested deeper than %d levels", maxDepth)
	case c.steps > maxSteps || len(c.out) > maxJSON:
		return faultf(n.Line, "aliases expand beyond all bounds")
	}
	return nil
}

func (c *converter) value(n *yaml.Node, depth int) *lineError {
	if fault := c.spend(n, depth); fault != nil {
		return fault
	}
	c.mark(n)
	switch n.Kind {
	case yaml.AliasNode:
		return c.value(n.Alias, depth+1)
	case yaml.MappingNode:
		return c.mapping(n, depth)
	case yaml.SequenceNode:
		return c.sequence(n, depth)
	case yaml.ScalarNode:
		return c.scalar(n)
	}
	return faultf(n.Line, "YAML node of unknown kind")
}

func (c *converter) sequence(n *yaml.Node, depth int) *lineError {
	c.out = append(c.out, '[')
	for i, item := range n.Content {
		if i > 0 {
			c.out = append(c.out, ',')
		}
		if fault := c.value(item, depth+1); fault != nil {
			return fault
		}
	}
	c.out = append(c.out, ']')
	return nil
}

// mapping keeps duplicate keys: the strict decoder reports them by path.
func (c *converter) mapping(n *yaml.Node, depth int) *lineError {
	pairs, fault := c.pairs(n, depth)
	if fault != nil {
		return fault
	}
	c.out = append(c.out, '{')
	for i := 0; i+1 < len(pairs); i += 2 {
		if i > 0 {
			c.out = append(c.out, ',')
		}
		c.mark(pairs[i])
		c.text(keyText(pairs[i]))
		c.out = append(c.out, ':')
		if fault := c.value(pairs[i+1], depth+1); fault != nil {
			return fault
		}
	}
	c.out = append(c.out, '}')
	return nil
}

// pairs are a mapping's keys and values with its merge keys (<<) replaced by
// what they merge; the mapping's own keys win, then the earlier merge.
func (c *converter) pairs(n *yaml.Node, depth int) ([]*yaml.Node, *lineError) {
	var own, merges []*yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		if fault := c.spend(key, depth); fault != nil {
			return nil, fault
		}
		for key.Kind == yaml.AliasNode {
			key = key.Alias
		}
		switch {
		case key.Kind != yaml.ScalarNode:
			return nil, faultf(key.Line, "a key must be a plain text")
		case key.ShortTag() == "!!merge":
			merges = append(merges, n.Content[i+1])
		default:
			own = append(own, key, n.Content[i+1])
		}
	}
	if len(merges) == 0 {
		return own, nil
	}
	return c.merge(own, merges, depth)
}

func (c *converter) merge(own, merges []*yaml.Node, depth int) ([]*yaml.Node, *lineError) {
	seen := map[string]bool{}
	for i := 0; i < len(own); i += 2 {
		seen[keyText(own[i])] = true
	}
	for len(merges) > 0 {
		from := merges[0]
		merges = merges[1:]
		if fault := c.spend(from, depth); fault != nil {
			return nil, fault
		}
		switch from.Kind {
		case yaml.AliasNode:
			merges = append([]*yaml.Node{from.Alias}, merges...)
		case yaml.SequenceNode:
			merges = append(slices.Clone(from.Content), merges...)
		case yaml.MappingNode:
			pairs, fault := c.pairs(from, depth+1)
			if fault != nil {
				return nil, fault
			}
			for i := 0; i < len(pairs); i += 2 {
				if text := keyText(pairs[i]); !seen[text] {
					seen[text] = true
					own = append(own, pairs[i], pairs[i+1])
				}
			}
		default:
			return nil, faultf(from.Line, "a merge key wants a mapping")
		}
	}
	return own, nil
}

// keyText is a key's text: true, 1 and "1" are the same key in JSON.
func keyText(key *yaml.Node) string { return key.Value }

func (c *converter) scalar(n *yaml.Node) *lineError {
	switch n.ShortTag() {
	case "!!null":
		c.out = append(c.out, "null"...)
	case "!!bool", "!!int", "!!float":
		var v any
		if err := n.Decode(&v); err != nil {
			return faultf(n.Line, "%s: not a value of its type", clip(n.Value))
		}
		return c.number(n, v)
	case "!!str":
		if yes, ok := oldBool(n); ok {
			c.out = strconv.AppendBool(c.out, yes)
			return nil
		}
		c.text(n.Value)
	default: // a timestamp, !!binary, a tag of somebody's own: the text
		c.text(n.Value)
	}
	return nil
}

func (c *converter) number(n *yaml.Node, v any) *lineError {
	switch v := v.(type) {
	case bool:
		c.out = strconv.AppendBool(c.out, v)
	case int:
		c.out = strconv.AppendInt(c.out, int64(v), 10)
	case int64:
		c.out = strconv.AppendInt(c.out, v, 10)
	case uint64:
		c.out = strconv.AppendUint(c.out, v, 10)
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return faultf(n.Line, "%s has no meaning in a manifest", clip(n.Value))
		}
		c.out = strconv.AppendFloat(c.out, v, 'g', -1, 64)
	default:
		c.text(n.Value)
	}
	return nil
}

func (c *converter) text(s string) {
	b, err := json.Marshal(s)
	if err != nil { // a string never fails
		b = []byte(`""`)
	}
	c.out = append(c.out, b...)
}

// oldBool tells YAML 1.1's booleans, which kubectl knows and YAML 1.2 does
// not. A quoted text is a text.
func oldBool(n *yaml.Node) (yes, ok bool) {
	if n.Style != 0 {
		return false, false
	}
	switch n.Value {
	case "y", "Y", "yes", "Yes", "YES", "on", "On", "ON":
		return true, true
	case "n", "N", "no", "No", "NO", "off", "Off", "OFF":
		return false, true
	}
	return false, false
}
