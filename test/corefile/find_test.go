package corefile

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/coredns/coredns/core/dnsserver"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"
)

// root is the repository's.
var root = filepath.Join("..", "..")

// found is a Corefile somewhere in the repository.
type found struct {
	file string // below the root
	line int    // of its first line, from 1
	text string
}

func (f found) String() string { return fmt.Sprintf("%s:%d", f.file, f.line) }

// example is a block of a Markdown file that is shown as it is.
type example struct {
	found
	kind string // what stands after the fence; "" for none, or an indented block
}

// files are all files of the repository with the given ending.
func files(t *testing.T, fit func(name string) bool) []string {
	t.Helper()
	var list []string
	require.NoError(t, filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		// What was built or fetched, and what the demo wrote, is not ours.
		name := entry.Name()
		if entry.IsDir() && (slices.Contains([]string{"bin", "build", "isthmus-demo", "node_modules"}, name) || len(name) > 2 && name[0] == '.') {
			return fs.SkipDir
		}
		if !entry.IsDir() && fit(name) {
			list = append(list, path)
		}
		return nil
	}))
	return list
}

func read(t *testing.T, path string) (name string, text []byte) {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	name, err = filepath.Rel(root, path)
	require.NoError(t, err)
	return name, text
}

// examples takes a Markdown file's blocks: fenced by ``` or ~~~, or indented.
func examples(name, text string) []example {
	var all []example
	var current *example
	fence := ""
	end := func() {
		if current != nil {
			all = append(all, *current)
		}
		current, fence = nil, ""
	}
	for i, line := range strings.Split(text, "\n") {
		mark, kind := fenceOf(line)
		switch {
		case fence != "" && mark == fence && kind == "":
			end()
		case fence != "":
			current.text += line + "\n"
		case mark != "":
			end()
			current, fence = &example{found{name, i + 2, ""}, kind}, mark
		case strings.HasPrefix(line, "    ") || current != nil && strings.TrimSpace(line) == "":
			if current == nil {
				current = &example{found{name, i + 1, ""}, ""}
			}
			current.text += strings.TrimPrefix(line, "    ") + "\n"
		default:
			end()
		}
	}
	end()
	return all
}

func fenceOf(line string) (mark, kind string) {
	for _, mark := range []string{"```", "~~~"} {
		if rest, ok := strings.CutPrefix(line, mark); ok {
			return mark, strings.TrimSpace(rest)
		}
	}
	return "", ""
}

// header is the first line of a server block.
var header = regexp.MustCompile(`^[^\s{}#]+( +[^\s{}]+)* *\{$`)

// looksLike tells that a text is a Corefile: a server block that begins with a
// plugin.
func looksLike(text string) bool {
	lines := strings.Split(text, "\n")
	for i, line := range lines[:len(lines)-1] {
		words := strings.Fields(lines[i+1])
		if header.MatchString(line) && len(words) > 0 && (words[0] == "isthmus" || slices.Contains(dnsserver.Directives, words[0])) {
			return true
		}
	}
	return false
}

// corefiles are all that there are. One in a Markdown file that isn't marked
// as such is an error.
func corefiles(t *testing.T) []found {
	t.Helper()
	var all []found
	for _, path := range files(t, func(name string) bool { return strings.HasSuffix(name, ".md") }) {
		name, text := read(t, path)
		for _, e := range examples(name, string(text)) {
			switch {
			case e.kind == "corefile":
				all = append(all, e.found)
			case looksLike(e.text):
				t.Errorf("%v: a Corefile that is not marked so: put it between ~~~ corefile and ~~~", e)
			}
		}
	}
	for _, path := range files(t, func(name string) bool { return strings.HasPrefix(name, "Corefile") }) {
		name, text := read(t, path)
		all = append(all, found{name, 1, string(text)})
	}
	for _, path := range files(t, func(name string) bool { return strings.HasSuffix(name, ".yaml") }) {
		name, text := read(t, path)
		all = append(all, inManifest(name, text)...)
	}
	return all
}

// inManifest takes the Corefiles out of ConfigMaps.
func inManifest(name string, text []byte) []found {
	var all []found
	for _, document := range bytes.Split(text, []byte("\n---")) {
		var object struct {
			Data map[string]any `json:"data"`
		}
		if yaml.Unmarshal(document, &object) != nil {
			continue // others' tests say so
		}
		for key, value := range object.Data {
			if s, ok := value.(string); ok && (strings.HasPrefix(key, "Corefile") || looksLike(s)) {
				line := 1 + bytes.Count(text[:max(bytes.Index(text, []byte(key+":")), 0)], []byte("\n"))
				all = append(all, found{name, line, s})
			}
		}
	}
	return all
}

func TestFinding(t *testing.T) {
	const text = "# a\n\n~~~ corefile\nglobal {\n    errors\n}\n~~~\n\ntext\n\n    global:53 {\n        errors\n\n        forward . 192.0.2.1\n    }\n\n" +
		"```\nisthmus [ZONES...] {\n    watcher ADDRESS...\n}\n```\n```go\nfunc f() {\n\tlog\n}\n```\n"
	got := examples("a.md", text)
	require.Len(t, got, 4)
	require.Equal(t, example{found{"a.md", 4, "global {\n    errors\n}\n"}, "corefile"}, got[0])
	require.Equal(t, "a.md:11", got[1].String())
	var alike []bool
	for _, e := range got {
		alike = append(alike, looksLike(e.text))
	}
	require.Equal(t, []bool{true, true, false, true}, alike[:4])
	require.Equal(t, []found{{"m.yaml", 4, ".:53 {\n  errors\n}"}},
		inManifest("m.yaml", []byte("kind: ConfigMap\napiVersion: v1\ndata:\n  Corefile: |\n    .:53 {\n      errors\n    }\n---\nkind: Other\n")))
}
