package deploy_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// sources is the text of the Go files of folders of the program.
func sources(t *testing.T, dirs ...string) string {
	t.Helper()
	var text strings.Builder
	for _, dir := range dirs {
		require.NoError(t, filepath.WalkDir(filepath.Join("..", dir), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			data, err := os.ReadFile(path)
			text.Write(data)
			return err
		}))
	}
	return text.String()
}

// TestQuotedMessagesExist: who searches a log for what the documentation quotes
// finds it.
func TestQuotedMessagesExist(t *testing.T) {
	code := sources(t, "cmd", "discovery", "gossip", "plugin")
	read := func(page string) string {
		data, err := os.ReadFile(page)
		require.NoError(t, err)
		return strings.Join(strings.Fields(string(data)), " ") // a message may stand on two lines
	}
	data := read("TROUBLESHOOTING.md")
	quoted := regexp.MustCompile("`(\"[^\"`]+\")`").FindAllStringSubmatch(data+read("README.md"), -1)
	require.Greater(t, len(quoted), 14)
	for _, m := range quoted {
		require.Contains(t, code, m[1])
	}
	for _, part := range []string{"does not chain to a trusted root", "not taken: "} { // of errors, and of status
		require.Contains(t, data, strings.TrimSpace(strings.TrimSuffix(part, ": ")))
		require.Contains(t, code, part)
	}
}

// TestVerdictsAreExplained: each Event and condition that the watcher writes is
// named, so that who sees one finds what it is.
func TestVerdictsAreExplained(t *testing.T) {
	page, err := os.ReadFile("TROUBLESHOOTING.md")
	require.NoError(t, err)
	reasons := regexp.MustCompile(`\b(?:event|condition)[A-Z]\w+\s+= "(\w+)"`).FindAllStringSubmatch(sources(t, filepath.Join("discovery", "kube")), -1)
	require.Greater(t, len(reasons), 6)
	for _, m := range reasons {
		require.Contains(t, string(page), "`"+m[1]+"`")
	}
}

// TestMetricsExist: rules and documentation name metrics that the program has,
// and reasons that these are counted by.
func TestMetricsExist(t *testing.T) {
	code := sources(t, "cmd", "discovery", "gossip", "plugin")
	var files []string
	for _, pattern := range []string{"*.md", filepath.Join("overlays", "monitoring", "*.yaml")} {
		found, err := filepath.Glob(pattern)
		require.NoError(t, err)
		files = append(files, found...)
	}
	names, reasons := map[string]bool{}, map[string]bool{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, name := range regexp.MustCompile(`\b(?:coredns_)?isthmus_[a-z_]+\b`).FindAllString(string(data), -1) {
			names[name] = true
		}
		for _, m := range regexp.MustCompile(`\{reason=~?"([^"]+)"\}`).FindAllStringSubmatch(string(data), -1) {
			for _, reason := range strings.Split(strings.ReplaceAll(m[1], `\|`, "|"), "|") {
				reasons[reason] = true
			}
		}
	}
	require.Greater(t, len(names), 8)
	for name := range names {
		require.True(t, strings.Contains(code, `"`+name+`"`) || isAssembled(t, name), name)
	}
	require.Greater(t, len(reasons), 3)
	for reason := range reasons {
		require.Contains(t, code, `"`+reason+`"`)
	}
}

// isAssembled tells of a metric's name that stands in the code in parts whether
// the last of them is where the others lead: coredns_isthmus_ is the plugin's,
// isthmus_kube_ that of discovery/kube.
func isAssembled(t *testing.T, name string) bool {
	t.Helper()
	if rest, ok := strings.CutPrefix(name, "coredns_isthmus_"); ok {
		return strings.Contains(sources(t, filepath.Join("plugin", "isthmus")), `"`+rest+`"`)
	}
	subsystem, rest, _ := strings.Cut(strings.TrimPrefix(name, "isthmus_"), "_")
	dir := filepath.Join("discovery", subsystem)
	if _, err := os.Stat(filepath.Join("..", dir)); err != nil {
		return false
	}
	return strings.Contains(sources(t, dir), `"`+rest+`"`)
}

// TestLinksLead: a link to a file of the repository, or to a heading of one of
// these pages, leads somewhere.
func TestLinksLead(t *testing.T) {
	pages, err := filepath.Glob("*.md")
	require.NoError(t, err)
	more, err := filepath.Glob(filepath.Join("examples", "*", "*.md"))
	require.NoError(t, err)
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	for _, page := range append(pages, more...) {
		data, err := os.ReadFile(page)
		require.NoError(t, err)
		for _, m := range link.FindAllStringSubmatch(string(data), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			file, anchor, _ := strings.Cut(m[1], "#")
			target := page
			if file != "" {
				target = filepath.Join(filepath.Dir(page), filepath.FromSlash(file))
			}
			require.FileExists(t, target, "%s: %s", page, m[1])
			if anchor != "" {
				require.Contains(t, anchors(t, target), anchor, "%s: %s", page, m[1])
			}
		}
	}
}

// anchors are those of a page's headings as GitHub makes them.
func anchors(t *testing.T, page string) []string {
	t.Helper()
	data, err := os.ReadFile(page)
	require.NoError(t, err)
	var all []string
	for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(string(data), -1) {
		name := regexp.MustCompile(`[^\w\- ]`).ReplaceAllString(strings.ToLower(m[1]), "")
		all = append(all, strings.ReplaceAll(name, " ", "-"))
	}
	return all
}
