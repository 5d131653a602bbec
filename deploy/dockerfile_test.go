package deploy_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// stage is a part of the Dockerfile: what it begins with, its name and what it
// does.
type stage struct {
	from, name string
	steps      [][]string // an instruction and its words
}

var (
	comment      = regexp.MustCompile(`(?m)^\s*#.*\n`)
	continuation = regexp.MustCompile(`\\\n`)
	variable     = regexp.MustCompile(`\$\{(\w+)\}`)
)

// parseDockerfile knows as much of the syntax as ours needs.
func parseDockerfile(t *testing.T, text string) (args map[string]string, stages []stage) {
	t.Helper()
	args = map[string]string{}
	text = continuation.ReplaceAllString(comment.ReplaceAllString(text, ""), " ")
	for _, line := range strings.Split(text, "\n") {
		words := strings.Fields(line)
		switch {
		case len(words) == 0:
		case words[0] == "ARG" && len(stages) == 0:
			name, value, _ := strings.Cut(words[1], "=")
			args[name] = value
		case words[0] == "FROM":
			if strings.HasPrefix(words[1], "--") {
				words = append(words[:1], words[2:]...)
			}
			s := stage{from: words[1]}
			if len(words) == 4 {
				require.Equal(t, "AS", words[2])
				s.name = words[3]
			}
			stages = append(stages, s)
		default:
			require.NotEmpty(t, stages, line)
			last := &stages[len(stages)-1]
			last.steps = append(last.steps, words)
		}
	}
	return args, stages
}

// TestDockerfile: there is no builder here to run it, so this holds what can be
// seen: where each stage begins, that the last is made from nothing and runs as
// nobody in particular, and that both ways to the binary lead there.
func TestDockerfile(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "Dockerfile"))
	require.NoError(t, err)
	args, stages := parseDockerfile(t, string(text))
	named := map[string]stage{}
	for i, s := range stages {
		for _, name := range variable.FindAllStringSubmatch(s.from, -1) {
			require.Contains(t, args, name[1])
		}
		from := variable.ReplaceAllStringFunc(s.from, func(v string) string { return args[v[2:len(v)-1]] })
		if _, ours := named[from]; !ours && from != "scratch" {
			require.Regexp(t, `^golang:1\.\d+`, from, "an image of a version, and no other")
		}
		for _, step := range s.steps {
			for _, word := range step {
				if name, ok := strings.CutPrefix(word, "--from="); ok {
					require.Contains(t, named, name, "stage %d", i)
				}
			}
		}
		if s.name != "" {
			named[s.name] = s
		}
	}
	for _, way := range []string{"build", "made"} {
		require.Contains(t, named, way, "--build-arg BINARY=%s", way)
	}
	require.Contains(t, []string{"build", "made"}, args["BINARY"])
	require.Equal(t, "${BINARY}", named["chosen"].from)
	require.Equal(t, "scratch", named["made"].from)

	last := stages[len(stages)-1]
	require.Equal(t, "scratch", last.from)
	steps := map[string]string{}
	for _, step := range last.steps {
		require.NotEqual(t, "RUN", step[0], "there is nothing in it that could run")
		steps[step[0]] = strings.Join(step[1:], " ")
	}
	require.Equal(t, "--from=chosen /out/ /", steps["COPY"])
	require.Regexp(t, `^\d+:\d+$`, steps["USER"], "the kubelet refuses names under runAsNonRoot")
	require.NotRegexp(t, `^0:`, steps["USER"])
	require.Equal(t, `["/isthmus"]`, steps["ENTRYPOINT"])

	static := false
	for _, step := range named["build"].steps {
		static = static || step[0] == "RUN" && strings.Contains(strings.Join(step, " "), "CGO_ENABLED=0")
	}
	require.True(t, static, "a scratch image has no C library")
	// The compiler is no older than go.mod wants.
	mod, err := os.ReadFile(filepath.Join("..", "go.mod"))
	require.NoError(t, err)
	require.Regexp(t, `(?m)^go `+regexp.QuoteMeta(args["GO"])+`(\.|$)`, string(mod))
}
