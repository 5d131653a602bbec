package isthmus

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/coredns/coredns/core/dnsserver"
	"github.com/stretchr/testify/require"
)

var fence = regexp.MustCompile("(?ms)^~~~ corefile\n(.*?)^~~~$")

// Every Corefile in the README starts, and setup has nothing to remark. Ports are replaced by free ones and
// addresses by loopback; nothing else is changed.
func TestReadme(t *testing.T) {
	text, err := os.ReadFile("README.md")
	require.NoError(t, err)
	at := 0
	for _, section := range []string{"## Name", "## Description", "## Syntax", "## Metadata", "## Metrics", "## Ready", "## Examples", "## Bugs", "## See Also"} {
		i := strings.Index(string(text[at:]), section+"\n")
		require.GreaterOrEqual(t, i, 0, section)
		at += i
	}
	corefiles := fence.FindAllStringSubmatch(string(text), -1)
	require.NotEmpty(t, corefiles)
	certificates(t)
	require.NoError(t, os.Mkdir("certs", 0o700))
	for _, name := range []string{"agent.crt", "agent.key", "ca.crt"} {
		require.NoError(t, os.WriteFile("certs/"+name, nil, 0o600))
	}
	for _, c := range corefiles {
		body := c[1]
		t.Run(strings.SplitN(body, "\n", 2)[0], func(t *testing.T) {
			replaceOpen(t)
			before := dnsserver.Port
			dnsserver.Port = "0"
			defer func() { dnsserver.Port = before }()
			body = regexp.MustCompile(`(?m)^(\S.*) \{$`).ReplaceAllString(body, "$1 {\n    bind 127.0.0.1")
			body = regexp.MustCompile(`(?m)^(\s+)(ready|health|prometheus)$`).ReplaceAllString(body, "$1$2 127.0.0.1:0")
			j := logged(t)
			start(t, body)
			require.Empty(t, j.remarks())
		})
	}
}

// The README's Syntax names every property, and nothing else.
func TestReadmeSyntax(t *testing.T) {
	text, err := os.ReadFile("README.md")
	require.NoError(t, err)
	_, syntax, _ := strings.Cut(string(text), "## Syntax\n")
	_, syntax, _ = strings.Cut(syntax, "{\n")
	syntax, _, _ = strings.Cut(syntax, "}\n")
	named := map[string]bool{}
	for line := range strings.Lines(syntax) {
		named[strings.Fields(line)[0]] = true
	}
	for name := range properties {
		require.True(t, named[name], name)
	}
	require.Len(t, named, len(properties))
}
