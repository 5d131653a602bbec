package resolvers

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Answers that are no addresses. none is what a resolver says that doesn't
// tell one from the other.
const (
	nodata   = "NODATA"
	nxdomain = "NXDOMAIN"
	none     = "NODATA or NXDOMAIN"
)

// kind is what is asked for: addresses of both families or of one, SRV, or the
// name of an address.
type kind string

const (
	both kind = "any"
	v4   kind = "a"
	v6   kind = "aaaa"
	srv  kind = "srv"
	ptr  kind = "ptr"
)

// resolver is one way to ask, as programs in a Pod do it.
type resolver struct {
	name  string
	kinds []kind
	// search tells that it goes through resolv.conf's search list.
	search bool
	// command makes the arguments; needs are the programs that must be there.
	command func(k kind, name string) []string
	needs   []string
	read    func(k kind, output string) string
}

// patience bounds one lookup: resolvers give up after 10 s themselves.
const patience = 30 * time.Second

// ask runs the resolver and returns sorted addresses, or one of the words.
func (r resolver) ask(t *testing.T, k kind, name string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	args := r.command(k, name)
	out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput()
	require.NoError(t, ctx.Err(), "%q goes on: %s", args, out)
	got := r.read(k, string(out))
	require.NotEmpty(t, got, "%q: %v: %s", args, err, out)
	return got
}

func join(lines []string) string {
	slices.Sort(lines)
	return strings.Join(slices.Compact(lines), " ")
}

// words reads the output of our own lookup programs, of which the errors mean
// what the map says.
func words(errors map[string]string) func(kind, string) string {
	return func(k kind, output string) string {
		output = strings.TrimSpace(output)
		if code, failed := strings.CutPrefix(output, "error "); failed {
			if word, known := errors[code]; known {
				return word
			}
			return output
		}
		lines := strings.Split(output, "\n")
		for i := range lines {
			lines[i] = undotted(k, lines[i])
		}
		return join(lines)
	}
}

// undotted takes the last dot off the name of an address, which some resolvers
// print and some don't.
func undotted(k kind, data string) string {
	if k == ptr {
		return strings.TrimSuffix(data, ".")
	}
	return data
}

var (
	status     = regexp.MustCompile(`status: (\w+)`)
	answerLine = regexp.MustCompile(`(?m)^[^;\s]\S*\s+\d+\s+IN\s+(A|AAAA|SRV|PTR)\s+(.*)$`)
)

// records reads what dig and kdig print of a message. A truncated one was asked
// for again over TCP.
func records(k kind, output string) string {
	var data []string
	for _, m := range answerLine.FindAllStringSubmatch(output, -1) {
		if m[1] == rrtype(k) { // SRV brings addresses along
			data = append(data, undotted(k, strings.TrimSpace(m[2])))
		}
	}
	rcode := status.FindAllStringSubmatch(output, -1)
	switch {
	case len(data) > 0:
		return join(data)
	case len(rcode) == 0:
		return output
	case rcode[len(rcode)-1][1] == "NOERROR":
		return nodata
	}
	return rcode[len(rcode)-1][1]
}

// validated reads what delv prints; only a validated answer counts.
func validated(k kind, output string) string {
	switch {
	case strings.Contains(output, "; negative response, fully validated"):
		return none // CoreDNS denies by black lies: no name is NXDOMAIN then
	case strings.Contains(output, "; fully validated"):
		return records(k, output)
	}
	return "not validated: " + output
}

var nslookupLine = regexp.MustCompile(`(?m)^Address: (\S+)$|(?:service|name) = (.*)$`)

// nslookup prints the server's address first, as "Address:\t…#53".
func nslookup(k kind, output string) string {
	var data []string
	for _, m := range nslookupLine.FindAllStringSubmatch(output, -1) {
		data = append(data, undotted(k, strings.TrimSpace(m[1]+m[2])))
	}
	switch {
	case len(data) > 0:
		return join(data)
	case strings.Contains(output, ": NXDOMAIN"):
		return nxdomain
	case strings.Contains(output, "No answer"):
		return nodata
	}
	return output
}

func rrtype(k kind) string { return strings.ToUpper(string(k)) }

// build makes the lookup programs and lists all resolvers.
func build(t *testing.T, anchor string) []resolver {
	dir := t.TempDir()
	addresses, records1, all := []kind{both, v4, v6, ptr}, []kind{v4, v6, srv, ptr}, []kind{both, v4, v6, srv, ptr}
	libc := words(map[string]string{"EAI_NODATA": nodata, "EAI_NONAME": nxdomain})
	musl := words(map[string]string{"EAI_NODATA": none, "EAI_NONAME": none})
	golang := words(map[string]string{"IsNotFound": none})
	node := words(map[string]string{"ENOTFOUND": nxdomain, "ENODATA": nodata})
	nodeLookup := words(map[string]string{"ENOTFOUND": none})
	compiled := func(name string, compiler ...string) func(kind, string) []string {
		program := filepath.Join(dir, name)
		if present(compiler[0]) {
			cmd := exec.Command(compiler[0], append(compiler[1:], "-o", program, filepath.Join("testdata", "lookup.c"))...)
			out, err := cmd.CombinedOutput()
			require.NoError(t, err, string(out))
		}
		return func(k kind, name string) []string { return []string{program, string(k), name} }
	}
	builtGo := func(name, cgo string) func(kind, string) []string {
		program := filepath.Join(dir, name)
		if present("go") && (cgo == "0" || present("gcc")) {
			cmd := exec.Command("go", "build", "-tags", "net"+name, "-o", program, "./testdata/lookup")
			cmd.Env = append(os.Environ(), "CGO_ENABLED="+cgo)
			out, err := cmd.CombinedOutput()
			require.NoError(t, err, string(out))
		}
		return func(k kind, name string) []string { return []string{program, string(k), name} }
	}
	script := func(how string) func(kind, string) []string {
		return func(k kind, name string) []string {
			return []string{"node", filepath.Join("testdata", "lookup.js"), how, string(k), name}
		}
	}
	tool := func(args ...string) func(kind, string) []string {
		return func(k kind, name string) []string {
			if k == ptr {
				return append(slices.Clone(args), "-x", name)
			}
			return append(slices.Clone(args), name, rrtype(k))
		}
	}
	return []resolver{
		{"glibc", addresses, true, compiled("glibc", "gcc"), []string{"gcc"}, libc},
		{"musl", addresses, true, compiled("musl", "musl-gcc", "-static"), []string{"musl-gcc"}, musl},
		{"go", all, true, builtGo("go", "0"), []string{"go"}, golang},
		{"go-cgo", addresses, true, builtGo("cgo", "1"), []string{"go", "gcc"}, golang},
		{"node-lookup", addresses, true, script("lookup"), []string{"node"}, nodeLookup},
		{"node-resolve", records1, false, script("resolve"), []string{"node"}, node},
		{"nslookup", records1, true, func(k kind, name string) []string {
			if k == ptr {
				return []string{"nslookup", name}
			}
			return []string{"nslookup", "-type=" + rrtype(k), name}
		}, []string{"nslookup"}, nslookup},
		{"dig", records1, false, tool("dig"), []string{"dig"}, records},
		{"dig-search", records1, true, tool("dig", "+search"), []string{"dig"}, records},
		{"dig-noedns", records1, false, tool("dig", "+noedns"), []string{"dig"}, records},
		{"kdig", records1, false, tool("kdig"), []string{"kdig"}, records},
		{"delv", records1, false, tool("delv", "@127.0.0.1", "-p", dnssecPort, "-a", anchor, "+root=global"), []string{"delv"}, validated},
	}
}

func present(program string) bool {
	_, err := exec.LookPath(program)
	return err == nil
}

// missing are the programs that a resolver needs and this machine hasn't.
func (r resolver) missing() []string {
	return slices.DeleteFunc(slices.Clone(r.needs), present)
}
