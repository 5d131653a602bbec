package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/isthmus-dns/isthmus/cmd/isthmus/internal/suggest"
	"go.yaml.in/yaml/v3"
)

// decoder walks YAML nodes along known fields and collects every problem.
type decoder struct {
	file     string
	problems Problems
	lines    map[string]int  // of each field that is present, by path
	broken   map[string]bool // fields with a problem in them or below
}

// read sets the value of one field from its node.
type read func(n *yaml.Node, path string)

// field is a name that a mapping may have.
type field struct {
	name string
	read read
}

// maxProblems is more than anybody mends in one round; a file that has more is
// not what it should be.
const maxProblems = 100

func (d *decoder) add(n *yaml.Node, format string, args ...any) {
	if len(d.problems) >= maxProblems {
		return
	}
	line := 0
	if n != nil {
		line = n.Line
	}
	d.problems = append(d.problems, Problem{File: d.file, Line: line, Text: oneLine(fmt.Sprintf(format, args...))})
}

// object reads a mapping. Null and nothing are the empty mapping: "kubernetes:"
// says as much as "kubernetes: {}".
func (d *decoder) object(n *yaml.Node, path string, fields ...field) {
	if !d.plain(n, path) || isNull(n) {
		return
	}
	if n.Kind != yaml.MappingNode {
		d.add(n, "%swant fields, got %s", prefix(path), kindOf(n))
		return
	}
	d.pairs(n, path, func(key, value *yaml.Node) {
		at := slices.IndexFunc(fields, func(f field) bool { return f.name == key.Value })
		if at < 0 {
			d.unknown(key, path, fields)
			return
		}
		d.within(key, value, join(path, key.Value), fields[at].read)
	})
}

// pairs goes through a mapping whose keys are texts, each given once.
func (d *decoder) pairs(n *yaml.Node, path string, pair func(key, value *yaml.Node)) {
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind != yaml.ScalarNode {
			d.add(key, "%swant a field name, got %s", prefix(path), kindOf(key))
			continue
		}
		if line, twice := seen[key.Value]; twice {
			d.add(key, "field %q is already given in line %d: keep one", clip(key.Value), line)
			continue
		}
		seen[key.Value] = key.Line
		pair(key, value)
	}
}

// within reads a value and notes where it stands and whether it is broken.
func (d *decoder) within(at, value *yaml.Node, path string, read read) {
	d.lines[path] = at.Line
	before := len(d.problems)
	read(value, path)
	d.broken[path] = len(d.problems) > before
}

// entries reads a mapping whose keys are the user's own, at most limit of them;
// example says how to write it. An entry's path is that of package locality:
// path["key"].
func (d *decoder) entries(n *yaml.Node, path string, limit int, example string, entry func(key string, value *yaml.Node, path string)) {
	if !d.plain(n, path) || isNull(n) {
		return
	}
	if n.Kind != yaml.MappingNode {
		d.add(n, "%s: want fields %s, got %s", path, example, kindOf(n))
		return
	}
	if len(n.Content) > 2*limit {
		d.add(n, "%s: has %d items, at most %d are allowed", path, len(n.Content)/2, limit)
		return
	}
	d.pairs(n, path, func(key, value *yaml.Node) {
		d.within(key, value, fmt.Sprintf("%s[%q]", path, clip(key.Value)), func(value *yaml.Node, path string) {
			entry(key.Value, value, path)
		})
	})
}

// required is a field that an object can't do without.
type required struct{ name, example string }

// complete is object for one with required fields. They are not asked for when
// something else is wrong: the missing name may be the misspelt one.
func (d *decoder) complete(n *yaml.Node, path string, fields []field, wanted ...required) {
	before := len(d.problems)
	d.object(n, path, fields...)
	if len(d.problems) > before {
		return
	}
	for _, r := range wanted {
		if _, given := d.lines[join(path, r.name)]; !given {
			d.add(n, "%s is missing: add %s", join(path, r.name), r.example)
		}
	}
}

// sound finds the field with a path, or the nearest one around it when it is
// not given; false if something is wrong in it already, of which another
// problem may only be the consequence.
func (d *decoder) sound(path string) (*yaml.Node, bool) {
	for ; path != ""; path = outer(path) {
		if line, given := d.lines[path]; given {
			return &yaml.Node{Line: line}, !d.broken[path]
		}
	}
	return nil, true
}

// outer is the path of what is around a field or an item: a.b of a.b.c and of
// a.b[1].
func outer(path string) string { return path[:max(strings.LastIndexAny(path, ".["), 0)] }

func (d *decoder) unknown(key *yaml.Node, path string, fields []field) {
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.name
	}
	where := ""
	if path != "" {
		where = " in " + path
	}
	if name := suggest.Nearest(key.Value, names); name != "" {
		d.add(key, "unknown field %q%s: did you mean %q?", clip(key.Value), where, name)
		return
	}
	d.add(key, "unknown field %q%s: want one of %s", clip(key.Value), where, strings.Join(names, ", "))
}

// list reads a sequence of at most limit items.
func (d *decoder) list(n *yaml.Node, path string, limit int, item read) {
	if !d.plain(n, path) || isNull(n) {
		return
	}
	if n.Kind != yaml.SequenceNode {
		d.add(n, "%s: want a list, got %s: write %s: [...]", path, kindOf(n), path[strings.LastIndexByte(path, '.')+1:])
		return
	}
	if len(n.Content) > limit {
		d.add(n, "%s: has %d items, at most %d are allowed", path, len(n.Content), limit)
		return
	}
	for i, c := range n.Content {
		d.within(c, c, fmt.Sprintf("%s[%d]", path, i), item)
	}
}

// scalar returns the text of a value that must carry the given tag.
func (d *decoder) scalar(n *yaml.Node, path, tag, want string) (string, bool) {
	if !d.plain(n, path) {
		return "", false
	}
	if n.Kind != yaml.ScalarNode {
		d.add(n, "%s: want %s, got %s", path, want, kindOf(n))
		return "", false
	}
	if got := n.ShortTag(); got != tag {
		switch {
		case got == "!!null":
			d.add(n, "%s: want %s, got nothing: give a value or remove the field", path, want)
		case tag == "!!str":
			d.add(n, "%s: want %s, got %s: write %q in quotes", path, want, kindOf(n), clip(n.Value))
		default:
			d.add(n, "%s: want %s, got %s", path, want, kindOf(n))
		}
		return "", false
	}
	return n.Value, true
}

// plain refuses aliases: a reader of the file should see what it says, and
// nothing in it is long enough to need them.
func (d *decoder) plain(n *yaml.Node, path string) bool {
	if n.Kind == yaml.AliasNode {
		d.add(n, "%salias *%s is not supported: write the value out", prefix(path), clip(n.Value))
		return false
	}
	return true
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// kindOf names what a node is, for people.
func kindOf(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "fields"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias"
	case yaml.ScalarNode:
		switch n.ShortTag() {
		case "!!null":
			return "nothing"
		case "!!int":
			return "the number " + clip(n.Value)
		case "!!float":
			return "the fraction " + clip(n.Value)
		case "!!bool":
			return "the truth value " + clip(n.Value)
		case "!!str":
			return fmt.Sprintf("the text %q", clip(n.Value))
		}
		return "a value of type " + clip(n.ShortTag())
	}
	return "an empty document"
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func prefix(path string) string {
	if path == "" {
		return ""
	}
	return path + ": "
}

// clip keeps a line readable when the file holds something else entirely.
func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "…"
	}
	return s
}
