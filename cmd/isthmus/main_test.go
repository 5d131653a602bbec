package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	mdns "github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/test/freeport"
)

// asProgram makes the test binary the program: what it prints and how it exits
// are what a user sees.
const asProgram = "ISTHMUS_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	os.Exit(m.Run())
}

func program(ctx context.Context, dir string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), asProgram+"=1", "POD_NAME=w-0", "POD_NAMESPACE=")
	return cmd
}

// run runs a command line to its end.
func run(t *testing.T, dir string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var out, errs bytes.Buffer
	cmd := program(ctx, dir, args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	_ = cmd.Run() // its exit code is what counts
	require.NoError(t, ctx.Err(), "%v did not end", args)
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

// site is a folder with certificates of "west" and "east", manifests of "west"
// and a watcher.yaml on free ports.
type site struct {
	dir          string
	gossip, http string // free ports
}

func newSite(t *testing.T) site {
	t.Helper()
	s := site{dir: t.TempDir(), gossip: freeport.Port(t), http: freeport.Port(t)}
	for _, args := range [][]string{
		{"pki", "init", "--clusterset", "prod"},
		{"pki", "issue", "--cluster", "west"},
		{"pki", "issue", "--cluster", "east"},
	} {
		code, _, stderr := run(t, s.dir, args...)
		require.Zero(t, code, stderr)
	}
	require.NoError(t, os.Mkdir(filepath.Join(s.dir, "west"), 0o755))
	s.write(t, "west/service.yaml", "apiVersion: v1\nkind: Service\nmetadata: {name: a, namespace: b, annotations: {isthmus.dev/export: \"true\"}}\nspec: {clusterIP: 10.0.0.1, ports: [{port: 80}]}\n")
	s.write(t, "watcher.yaml", s.config())
	return s
}

func (s site) config() string {
	return strings.Join([]string{
		"clusterset: prod",
		"cluster: west",
		"locality: us-west1/us-west1-a",
		"source: {manifests: {dir: west}}",
		"gossip: {listen: 127.0.0.1:" + s.gossip + ", advertise: 127.0.0.1:" + s.gossip + "}",
		"tls: {cert: pki/west-watcher.crt, key: pki/west-watcher.key, ca: pki/ca.crt}",
		"state: state",
		"http: 127.0.0.1:" + s.http,
	}, "\n") + "\n"
}

func (s site) write(t *testing.T, name, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600))
}

// takenPort is a port that somebody listens on until the test ends.
func takenPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	_, port, err := net.SplitHostPort(l.Addr().String())
	require.NoError(t, err)
	return port
}

func TestCommandLines(t *testing.T) {
	dir := t.TempDir()
	for _, tt := range []struct {
		args string
		code int
		want string // begins stdout or stderr
	}{
		{"", 0, "Isthmus answers *.global names"},
		{"version", 0, "isthmus "},
		{"version -o yaml", 2, `isthmus: -o "yaml": want table or json`},
		{"nonsense", 2, `isthmus: unknown command "nonsense" for "isthmus"`},
		{"watch --nonsense", 2, "isthmus: unknown flag: --nonsense"},
		{"watch --log-level loud", 2, `isthmus: invalid argument "loud" for "--log-level" flag: want debug, info, warn or error`},
		{"run -log-level loud", 2, `isthmus: run: invalid value "loud" for flag -log-level: want debug, info, warn or error`},
		{"watch extra", 2, `isthmus: unknown command "extra" for "isthmus watch"`},
		{"watch", 2, "isthmus: watcher.yaml: cannot be read: no such file or directory: give a file with -c"},
		{"explain", 2, "isthmus: accepts 1 arg(s), received 0"},
		{"explain a.b --client x", 2, `isthmus: --client "x": want an IP address`},
		{"dns", 2, "isthmus: Corefile: cannot be read: no such file or directory: give a Corefile with -conf"},
		{"dns -nonsense", 2, "isthmus: dns: flag provided but not defined: -nonsense; see `isthmus dns -h`"},
		{"dns extra", 2, `isthmus: dns: unexpected argument "extra"`},
		{"dns -log-format xml", 2, `isthmus: dns: -log-format "xml": want text or json`},
		{"dns -plugins", 0, "acl\nany\n"},
		{"dns -version", 0, "isthmus "},
		{"dns -h", 0, "Run an agent: CoreDNS with the isthmus plugin."},
		{"run -nonsense", 2, "isthmus: run: flag provided but not defined: -nonsense"},
		{"check", 2, "isthmus: check: nothing to check"},
		{"check -c missing.yaml", 2, "isthmus: missing.yaml: cannot be read: no such file or directory: give a file with -c"},
		{"check -conf missing", 2, "isthmus: missing: cannot be read: no such file or directory: give a Corefile with -conf"},
		{"pki init", 2, "isthmus: isthmus pki init: --clusterset is missing: name of the clusterset, as in watcher.yaml"},
		{"pki issue --cluster west", 2, "isthmus: open pki/ca.crt: no such file or directory: make a root with isthmus pki init"},
		{"pki issue --cluster west --days 0", 2, "isthmus: --days 0: want 1 to 36500"},
		{"status --addr ftp://x", 2, `isthmus: watcher address "ftp://x": want http://host:port`},
		{"status --addr 127.0.0.1:1", 1, `isthmus: ask the watcher: Get "http://127.0.0.1:1/api/v1/status": dial tcp 127.0.0.1:1: connect: connection refused; give its address with --addr`},
		{"list --addr 127.0.0.1:1", 1, "isthmus: ask the watcher: "},
	} {
		t.Run(tt.args, func(t *testing.T) {
			code, stdout, stderr := run(t, dir, strings.Fields(tt.args)...)
			require.Equal(t, tt.code, code, stderr)
			if code == 0 {
				require.True(t, strings.HasPrefix(stdout, tt.want), stdout)
				return
			}
			require.True(t, strings.HasPrefix(stderr, tt.want), stderr)
			require.Equal(t, 1, strings.Count(stderr, "\n"), stderr)
		})
	}
}

func TestVersionForPrograms(t *testing.T) {
	code, stdout, _ := run(t, t.TempDir(), "version", "-o", "json")
	require.Zero(t, code)
	var v version
	require.NoError(t, json.Unmarshal([]byte(stdout), &v))
	require.NotEmpty(t, v.Isthmus)
	require.True(t, strings.HasPrefix(v.Go, "go1."))
}

// TestNothingHalfStarted: what is wrong is one line with file, line and fix,
// the exit code is 2, and neither a port nor a file was taken.
func TestNothingHalfStarted(t *testing.T) {
	good := newSite(t)
	for _, tt := range []struct {
		name     string
		from, to string // replaced in watcher.yaml
		want     string
	}{
		{"unknown field", "locality:", "localty:", `watcher.yaml:3: unknown field "localty": did you mean "locality"?`},
		{"bad locality", "us-west1/us-west1-a", "us west1", `watcher.yaml:3: locality "us west1": segment "us west1": wants letters, digits and inner '-', '_' or '.': write region[/zone[/subzone]], as in us-west1/us-west1-a`},
		{"unreadable key", "pki/west-watcher.key", "west", "watcher.yaml:6: tls: key file"},
		{"missing key", "pki/west-watcher.key", "pki/none.key", "watcher.yaml:6: tls: pki/none.key: key file does not exist; make one with `isthmus pki`"},
		{"key of another", "pki/west-watcher.key", "pki/east-watcher.key", "watcher.yaml:6: tls: pki/west-watcher.crt with key pki/east-watcher.key: "},
		{"certificate of another cluster", "west-watcher.crt, key: pki/west", "east-watcher.crt, key: pki/east", "watcher.yaml:6: tls.cert: pki/east-watcher.crt names spiffe://prod/cluster/east/watcher, but this is spiffe://prod/cluster/west/watcher; use that cluster's watcher certificate"},
		{"certificate of an agent", "west-watcher.crt, key: pki/west-watcher", "west-agent.crt, key: pki/west-agent", "watcher.yaml:6: tls.cert: pki/west-agent.crt names spiffe://prod/cluster/west/agent, but this is"},
		{"certificate of another clusterset", "clusterset: prod", "clusterset: other", `watcher.yaml:6: tls: pki/west-watcher.crt: names clusterset "prod", but the configuration says "other"; use a certificate issued for it`},
		{"routing", "state: state", "routing: {distribute: [{from: a, to: {b: 90}}]}", "watcher.yaml:7: routing.distribute[0].to: weights sum up to 90, want 100"},
		{"no folder", "dir: west", "dir: nowhere", "watcher.yaml:4: source.manifests.dir: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			require.Contains(t, good.config(), tt.from)
			s := good
			s.dir = t.TempDir()
			for _, link := range []string{"pki", "west"} {
				require.NoError(t, os.Symlink(filepath.Join(good.dir, link), filepath.Join(s.dir, link)))
			}
			s.write(t, "watcher.yaml", strings.Replace(s.config(), tt.from, tt.to, 1))
			s.refused(t, tt.want, "watch")
			s.refused(t, tt.want, "check", "-c", "watcher.yaml")
			require.NoDirExists(t, filepath.Join(s.dir, "state", "epoch"))
		})
	}
	t.Run("busy gossip port", func(t *testing.T) {
		s := good
		s.gossip = takenPort(t)
		s.write(t, "watcher.yaml", s.config())
		s.refused(t, "watcher.yaml:5: gossip.listen: gossip address 127.0.0.1:"+s.gossip+" is in use: ", "watch")
	})
	t.Run("busy http port", func(t *testing.T) {
		s := good
		s.http = takenPort(t)
		s.write(t, "watcher.yaml", s.config())
		s.refused(t, "watcher.yaml:8: http: listen tcp 127.0.0.1:"+s.http+": bind: address already in use; stop what holds the port or choose another", "watch")
	})
	t.Run("busy dns port", func(t *testing.T) {
		port := takenPort(t)
		good.write(t, "Corefile", "# agents\n.:"+port+" {\n  bind 127.0.0.1\n}\n")
		good.refused(t, "Corefile:2: cannot listen on tcp 127.0.0.1:"+port+": address already in use: stop what listens there or give another port", "dns")
	})
}

func (s site) refused(t *testing.T, want string, args ...string) {
	t.Helper()
	code, _, stderr := run(t, s.dir, args...)
	require.Equal(t, 2, code, stderr)
	require.True(t, strings.HasPrefix(stderr, "isthmus: "+want), "got  %s\nwant isthmus: %s", stderr, want)
	require.Equal(t, 1, strings.Count(stderr, "\n"), stderr)
}

func TestCheckSaysOK(t *testing.T) {
	s := newSite(t)
	s.write(t, "Corefile", fmt.Sprintf("global:%s {\n  bufsize 1232\n  isthmus {\n    watcher 127.0.0.1:%s\n    tls pki/west-agent.crt pki/west-agent.key pki/ca.crt\n    clusterset prod\n  }\n}\n", freeport.Port(t), s.gossip))
	code, stdout, stderr := run(t, s.dir, "check", "-c", "watcher.yaml", "-conf", "Corefile", "-manifests", "west")
	require.Zero(t, code, stderr)
	require.Equal(t, "watcher.yaml: ok\nCorefile: ok\nwest: ok\n", stdout)
	require.Empty(t, stderr)

	s.write(t, "west/broken.yaml", "kind: Service\n  apiVersion: v1\n")
	s.write(t, "Corefile", ".:0 {\n  isthmus {\n    wather 127.0.0.1\n  }\n}\n")
	code, stdout, stderr = run(t, s.dir, "check", "-c", "watcher.yaml", "-conf", "Corefile")
	require.Equal(t, 2, code)
	require.Empty(t, stdout)
	lines := strings.Split(strings.TrimSpace(stderr), "\n")
	require.Len(t, lines, 2, stderr)
	require.True(t, strings.HasPrefix(lines[0], "isthmus: west/broken.yaml:"), lines[0])
	require.Equal(t, `isthmus: Corefile:3: plugin isthmus: unknown property "wather", did you mean "watcher"?`, lines[1])
}

// TestCheckShowsAllMistakes: of routing and health, too, each with its line.
func TestCheckShowsAllMistakes(t *testing.T) {
	s := newSite(t)
	s.write(t, "watcher.yaml", s.config()+`routing:
  failover:
    - {from: us-west1, to: [us-west1]}
  services:
    - match: payment
      ordr: latency
health:
  timeout: 9s
`)
	code, stdout, stderr := run(t, s.dir, "check", "-c", "watcher.yaml")
	require.Equal(t, 2, code)
	require.Empty(t, stdout)
	require.Equal(t, `isthmus: watcher.yaml:11: routing.failover[0].to[0]: "us-west1" can't fail over to itself
isthmus: watcher.yaml:13: routing.services[0].match: "payment": want NAMESPACE/NAME, where * stands for any letters
isthmus: watcher.yaml:14: unknown field "ordr" in routing.services[0]: did you mean "order"?
isthmus: watcher.yaml:16: health.timeout: 9s: want more than 0 and at most the interval, 5s
`, stderr)
}

// read waits until the watcher has read its configuration so many times.
func (s site) read(t *testing.T, least float64) {
	t.Helper()
	require.Eventually(t, func() bool {
		response, err := http.Get("http://127.0.0.1:" + s.http + "/metrics")
		if err != nil {
			return false
		}
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		_, after, _ := strings.Cut(string(text), "\nisthmus_config_reloads_total{outcome=\"ok\"} ")
		value, _, _ := strings.Cut(after, "\n")
		times, _ := strconv.ParseFloat(value, 64)
		return err == nil && times >= least
	}, 20*time.Second, 50*time.Millisecond)
}

// TestCheckWarns: what a start would warn of is no problem, what it would
// refuse is one.
func TestCheckWarns(t *testing.T) {
	s := newSite(t)
	const stanza = "  isthmus {\n    watcher 127.0.0.1\n    insecure\n    clusterset prod\n    mcs clusterset.local\n  }\n"
	s.write(t, "Corefile", "global {\n"+stanza+"}\n")
	code, stdout, stderr := run(t, s.dir, "check", "-conf", "Corefile")
	require.Zero(t, code, stderr)
	require.Equal(t, "Corefile: ok\n", stdout)
	require.Equal(t, `isthmus: warning: Corefile:2: bufsize is missing: without it CoreDNS sends UDP answers as large as clients say, and what is larger than a packet gets lost; add bufsize 1232 to the server block
isthmus: warning: Corefile:2: no query for clusterset.local. comes to the server block global.:53; add clusterset.local. to its zones
`, stderr)

	s.write(t, "Corefile", "global clusterset.local {\n  bufsize 1232\n  autopath @isthmus\n"+stanza+"}\n")
	s.refused(t, "Corefile:3: plugin isthmus: autopath @isthmus: a search path begins with", "check", "-conf", "Corefile")
}

// process is the program while it lives.
type process struct {
	cmd    *exec.Cmd
	stderr *bytes.Buffer
	ended  chan error
}

// begin starts the program, until end or the end of the test.
func (s site) begin(t *testing.T, args ...string) process {
	t.Helper()
	return s.beginWith(t, "", args...)
}

// beginWith is begin with a text on the standard input.
func (s site) beginWith(t *testing.T, stdin string, args ...string) process {
	t.Helper()
	p := process{cmd: program(t.Context(), s.dir, args...), stderr: new(bytes.Buffer), ended: make(chan error, 1)}
	p.cmd.Stdin, p.cmd.Stderr = strings.NewReader(stdin), p.stderr
	require.NoError(t, p.cmd.Start())
	go func() { p.ended <- p.cmd.Wait() }()
	t.Cleanup(func() { _ = p.cmd.Process.Kill() })
	return p
}

// end ends it as Kubernetes does, and wants exit code 0.
func (p process) end(t *testing.T) {
	t.Helper()
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM))
	select {
	case err := <-p.ended:
		require.NoError(t, err, p.stderr.String())
	case <-time.After(20 * time.Second):
		t.Fatal("the program did not end")
	}
}

// TestWatchLives starts a watcher, asks it, and ends it.
func TestWatchLives(t *testing.T) {
	s := newSite(t)
	p := s.begin(t, "watch", "--log-level", "debug")
	url := "http://127.0.0.1:" + s.http
	require.Eventually(t, func() bool {
		response, err := http.Get(url + "/readyz")
		if err != nil {
			return false
		}
		defer response.Body.Close()
		return response.StatusCode == http.StatusOK
	}, 20*time.Second, 50*time.Millisecond)

	code, stdout, stderr := run(t, s.dir, "status", "--addr", url)
	require.Zero(t, code, stderr)
	require.Contains(t, stdout, "w-0.west of prod")
	require.Contains(t, stdout, "ready: true, publishes: true")
	code, stdout, stderr = run(t, s.dir, "list", "--addr", url)
	require.Zero(t, code, stderr)
	require.Equal(t, "NAMESPACE  NAME  west\nb          a     0/0\n", stdout)
	code, stdout, stderr = run(t, s.dir, "explain", "a.b.global", "--addr", url)
	require.Zero(t, code, stderr)
	require.Regexp(t, `(?m)^a\.b for clients in west \(us-west1/us-west1-a\)$`, stdout)
	require.Regexp(t, `(?m)^west +out +- +- +0 +0/0 +service +- +- +fresh +[0-9a-z]+ +no ready endpoint$`, stdout)
	code, _, stderr = run(t, s.dir, "explain", "c.b", "--addr", url)
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "no cluster exports it")
	code, stdout, _ = run(t, s.dir, "list", "--addr", url, "-n", "none", "-o", "json")
	require.Zero(t, code)
	require.Equal(t, "[]\n", stdout)
	p.end(t)
	require.Contains(t, p.stderr.String(), `"msg":"part committed"`)
	for line := range strings.Lines(p.stderr.String()) {
		require.LessOrEqual(t, strings.Count(line, `"cluster":`), 1, "one of them is lost to whoever reads JSON: %s", line)
	}
}

// TestRunAnswers runs both halves in one process and asks over DNS.
func TestRunAnswers(t *testing.T) {
	s := newSite(t)
	port := freeport.Port(t)
	s.write(t, "west/slice.yaml", `apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: a-1, namespace: b, labels: {kubernetes.io/service-name: a}}
addressType: IPv4
ports: [{port: 80}]
endpoints: [{addresses: [10.1.0.1], conditions: {ready: true}}]
`)
	s.write(t, "Corefile", fmt.Sprintf(`global:%s {
  bind 127.0.0.1
  isthmus {
    watcher 127.0.0.1:%s
    tls pki/west-agent.crt pki/west-agent.key pki/ca.crt
    snapshot agent
  }
}
`, port, s.gossip))
	p := s.begin(t, "run", "-c", "watcher.yaml", "-conf", "Corefile", "-quiet")
	query := new(mdns.Msg)
	query.SetQuestion("a.b.global.", mdns.TypeA)
	var answer *mdns.Msg
	require.Eventually(t, func() bool {
		client := mdns.Client{Net: "tcp", Timeout: time.Second}
		var err error
		answer, _, err = client.Exchange(query, "127.0.0.1:"+port)
		return err == nil && len(answer.Answer) == 1
	}, 20*time.Second, 50*time.Millisecond)
	require.Equal(t, "10.0.0.1", answer.Answer[0].(*mdns.A).A.String())
	p.end(t)
}

// TestSignals: of those that CoreDNS outlives none ends an agent, and a reload
// has the Corefile that came by the standard input.
func TestSignals(t *testing.T) {
	port := freeport.Port(t)
	text := fmt.Sprintf(".:%s {\n  bind 127.0.0.1\n  hosts {\n    192.0.2.1 a.example\n  }\n}\n", port)
	for name, args := range map[string][]string{
		"dns": {"dns", "-conf", "stdin"},
		"run": {"run", "-conf", "stdin"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			p := s.beginWith(t, text, args...)
			answered := func() bool {
				client := mdns.Client{Net: "tcp", Timeout: time.Second}
				answer, _, err := client.Exchange(new(mdns.Msg).SetQuestion("a.example.", mdns.TypeA), "127.0.0.1:"+port)
				return err == nil && len(answer.Answer) == 1
			}
			require.Eventually(t, answered, 20*time.Second, 50*time.Millisecond)
			if name == "run" {
				s.read(t, 1) // at the start
			}
			for _, signal := range []syscall.Signal{syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGHUP} {
				require.NoError(t, p.cmd.Process.Signal(signal))
				require.Eventually(t, answered, 5*time.Second, 50*time.Millisecond, "%v", signal)
			}
			if name == "run" { // SIGHUP asks the watcher in it
				s.read(t, 2)
			}
			p.end(t)
		})
	}
}
