package dns

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/test/freeport"
)

// corefile writes a Corefile and returns its name.
func corefile(t testing.TB, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "Corefile")
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	return file
}

// journal is a buffer that a server may write to while a test reads.
type journal struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *journal) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *journal) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// start runs a server until the test ends, or stop is called, which returns
// what Run did.
func start(t testing.TB, o Options) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	started, result := make(chan struct{}), make(chan error, 1)
	o.Started = func([]string) { close(started) }
	if o.Output == nil {
		o.Output = new(journal)
	}
	go func() { result <- Run(ctx, o) }()
	select {
	case <-started:
	case err := <-result:
		cancel()
		require.NoError(t, err)
		t.Fatal("Run returned before it served")
	}
	stop = sync.OnceValue(func() error {
		cancel()
		return <-result
	})
	t.Cleanup(func() { _ = stop() })
	return stop
}

func ask(network, port, name string) (*dns.Msg, error) {
	query := new(dns.Msg)
	query.SetQuestion(name, dns.TypeA)
	client := dns.Client{Net: network, Timeout: 2 * time.Second}
	answer, _, err := client.Exchange(query, net.JoinHostPort("127.0.0.1", port))
	return answer, err
}

func address(t *testing.T, network, port, name string) string {
	t.Helper()
	answer, err := ask(network, port, name)
	require.NoError(t, err)
	if len(answer.Answer) == 0 {
		return dns.RcodeToString[answer.Rcode]
	}
	return answer.Answer[0].(*dns.A).A.String()
}

func hosts(port, ip string) string {
	return fmt.Sprintf(".:%s {\n  bind 127.0.0.1\n  hosts {\n    %s a.example\n  }\n}\n", port, ip)
}

func TestRunServesAndLetsGo(t *testing.T) {
	port := freeport.Port(t)
	file := corefile(t, hosts(port, "192.0.2.1"))
	pid := filepath.Join(t.TempDir(), "pid")
	stop := start(t, Options{File: file, PidFile: pid})
	require.Equal(t, "192.0.2.1", address(t, "udp", port, "a.example."))
	require.Equal(t, "192.0.2.1", address(t, "tcp", port, "a.example."))
	text, err := os.ReadFile(pid)
	require.NoError(t, err)
	require.Equal(t, fmt.Sprintf("%d\n", os.Getpid()), string(text))
	require.ErrorIs(t, Run(t.Context(), Options{File: file}), errSecond)
	require.NoError(t, stop())
	require.NoFileExists(t, pid)
	for _, network := range []string{"udp", "tcp"} {
		require.NoError(t, try(listen{network: network, address: "127.0.0.1:" + port}), network)
	}
}

// TestStopAtOnce: CoreDNS alone loses a stop that comes before it reads.
func TestStopAtOnce(t *testing.T) {
	for _, bind := range []string{"127.0.0.1", "0.0.0.0", "::"} {
		t.Run(bind, func(t *testing.T) {
			for range 10 {
				ctx, cancel := context.WithCancel(t.Context())
				begin := time.Now()
				require.NoError(t, Run(ctx, Options{
					File: corefile(t, ".:0 {\n  bind "+bind+"\n  whoami\n}\n"), Output: new(journal),
					Started: func([]string) { cancel() },
				}))
				require.Less(t, time.Since(begin), stopTime/2)
			}
		})
	}
}

func TestReloadKeepsTheOldOneWhenTheNewIsBroken(t *testing.T) {
	port := freeport.Port(t)
	file := corefile(t, hosts(port, "192.0.2.1"))
	reload := make(chan os.Signal)
	out := new(journal)
	stop := start(t, Options{File: file, Reload: reload, Output: out})

	require.NoError(t, os.WriteFile(file, []byte(hosts(port, "192.0.2.2")), 0o600))
	reload <- syscall.SIGUSR1
	require.Eventually(t, func() bool { return address(t, "udp", port, "a.example.") == "192.0.2.2" }, 5*time.Second, 10*time.Millisecond)

	require.NoError(t, os.WriteFile(file, []byte(".:"+port+" {\n  hosst\n}\n"), 0o600))
	reload <- syscall.SIGUSR1
	require.Eventually(t, func() bool {
		return strings.Contains(out.String(), `Corefile:2: unknown plugin "hosst": did you mean "hosts"?`)
	}, 5*time.Second, 10*time.Millisecond)
	require.Equal(t, "192.0.2.2", address(t, "udp", port, "a.example."))
	require.Equal(t, "192.0.2.2", address(t, "tcp", port, "a.example."))
	require.NoError(t, stop())
	require.Contains(t, out.String(), "Reloading complete")
}

// TestNoQueryIsLostInAReload asks all the while that the Corefile is read
// again, over UDP as clients do.
func TestNoQueryIsLostInAReload(t *testing.T) {
	port := freeport.Port(t)
	file := corefile(t, hosts(port, "192.0.2.1"))
	reload := make(chan os.Signal)
	out := new(journal)
	start(t, Options{File: file, Reload: reload, Output: out})
	ctx, cancel := context.WithCancel(t.Context())
	failed, asked := make(chan error, 1), 0
	go func() {
		var err error
		for ; ctx.Err() == nil && err == nil; asked++ {
			_, err = ask("udp", port, "a.example.")
		}
		failed <- err
	}()
	for i := range 5 {
		reload <- syscall.SIGUSR1
		require.Eventually(t, func() bool { return strings.Count(out.String(), "Reloading complete") == i+1 }, 10*time.Second, 5*time.Millisecond)
	}
	cancel()
	require.NoError(t, <-failed)
	require.Positive(t, asked)
}

func TestMistakes(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	_, busyPort, err := net.SplitHostPort(taken.Addr().String())
	require.NoError(t, err)
	for _, tt := range []struct{ name, text, want string }{
		{"unknown plugin", ".:0 {\n  errors\n  forwrd . 192.0.2.1\n}", `Corefile:3: unknown plugin "forwrd": did you mean "forward"?`},
		{"plugin of CoreDNS that is left out", ".:0 {\n  etcd\n}", `Corefile:2: plugin "etcd" is CoreDNS's but not in isthmus: see isthmus dns -plugins for what is`},
		{"nothing like it", ".:0 {\n  xyzzyxyzzy\n}", `Corefile:2: unknown plugin "xyzzyxyzzy": see isthmus dns -plugins for what there is`},
		{"brace", ".:0 {\n  errors\n", "Corefile:2: Unexpected token 'errors', expecting '}': the file ends inside a block, a } is missing"},
		{"brace of a plugin", ".:0 {\n  isthmus {\n    watcher a\n", "Corefile:3: Unexpected EOF: the file ends inside a block, a } is missing"},
		{"zone in two blocks", "a:1 {\n whoami\n}\nb:1 {\n whoami\n}\nc:1, A.:1 {\n whoami\n}\n", "Corefile:7: a.:1 is served twice: join the two server blocks, or give one another port, bind or view"},
		{"zone in two blocks, one without bind", "a:1 {\n bind 127.0.0.1\n}\na:1 {\n whoami\n}\n", "Corefile:4: a.:1 is served twice: join the two server blocks, or give one another port, bind or view"},
		{"zone twice in a block", "a dns://a {\n whoami\n}\n", "Corefile:1: a.:53 is served twice: join the two server blocks, or give one another port, bind or view"},
		{"argument", ".:0 {\n  errors\n  health a b\n}", "Corefile:3: plugin health: Wrong argument count or unexpected line ending after 'b'"},
		{"error without a line", ".:0 {\n  errors\n  reload 1s\n}", "Corefile:3: plugin reload: interval value must be greater or equal to 2s"},
		{"empty", "# nothing\n", "Corefile: holds no server block: write one, as in global:53 { isthmus }"},
		{"busy", ".:" + busyPort + " {\n  bind 127.0.0.1\n  whoami\n}", "Corefile:1: cannot listen on tcp 127.0.0.1:" + busyPort + ": address already in use: stop what listens there or give another port"},
		{"busy by a plugin", ".:0 {\n  bind 127.0.0.1\n  health 127.0.0.1:" + busyPort + "\n}", "Corefile:3: cannot listen on tcp 127.0.0.1:" + busyPort + ": address already in use: stop what listens there or give another port"},
		{"address of another machine", ".:10053 {\n  bind 192.0.2.77\n}", "Corefile:1: cannot listen on tcp 192.0.2.77:10053: cannot assign requested address: bind to an address of this machine"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			file := corefile(t, tt.text)
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			err := Run(ctx, Options{File: file, Output: new(journal)})
			var mistake *CorefileError
			require.ErrorAs(t, err, &mistake)
			require.Equal(t, file, mistake.File)
			require.Equal(t, tt.want, strings.Replace(err.Error(), file, "Corefile", 1))
		})
	}
	t.Run("no file", func(t *testing.T) {
		require.EqualError(t, Run(t.Context(), Options{File: "/nonexistent/Corefile"}), "/nonexistent/Corefile: cannot be read: no such file or directory: give a Corefile with -conf")
	})
}

// TestNoOverlap: what looks like a zone that is served twice, and isn't.
func TestNoOverlap(t *testing.T) {
	for _, text := range []string{
		"a:1 {\n whoami\n}\na:2 {\n whoami\n}\n",
		"a:1 {\n whoami\n}\ntls://a:1 {\n whoami\n}\n",
		"a:1 {\n bind 127.0.0.1\n whoami\n}\na:1 {\n bind 127.0.0.2\n whoami\n}\n",
		"a:1 {\n bind lo\n whoami\n}\na:1 {\n bind 127.0.0.2\n whoami\n}\n",
		"a:1 {\n view v {\n expr true\n }\n whoami\n}\na:1 {\n whoami\n}\n",
		"a:1 {\n whoami\n}\nb.a:1 {\n whoami\n}\n",
	} {
		_, err := Check(corefile(t, text))
		require.NoError(t, err, text)
	}
}

// TestASecondServerIsRefused: CoreDNS alone would share the port with it.
func TestASecondServerIsRefused(t *testing.T) {
	port := freeport.Port(t)
	file := corefile(t, hosts(port, "192.0.2.1"))
	start(t, Options{File: file})
	input, err := read(file)
	require.NoError(t, err)
	list, err := blocks(input)
	require.NoError(t, err)
	require.ErrorContains(t, probe(input, list), "address already in use")
}

func TestCheckStartsNothing(t *testing.T) {
	port := freeport.Port(t)
	file := corefile(t, hosts(port, "192.0.2.1"))
	_, err := Check(file)
	require.NoError(t, err)
	_, err = ask("tcp", port, "a.example.")
	require.Error(t, err)
	_, err = Check(corefile(t, ".:0 {\n  health a b\n}"))
	require.ErrorContains(t, err, "Corefile:2: plugin health: ")
}

func TestListens(t *testing.T) {
	for _, tt := range []struct {
		text string
		want []listen
	}{
		{"global", []listen{{"tcp", ":53", 0}, {"udp", ":53", 0}}},
		{"global:1053 {\n bind 127.0.0.1 ::1\n}", []listen{{"tcp", "127.0.0.1:1053", 0}, {"udp", "127.0.0.1:1053", 0}, {"tcp", "[::1]:1053", 0}, {"udp", "[::1]:1053", 0}}},
		{"tls://global", []listen{{"tcp", ":853", 0}}},
		{"quic://global", []listen{{"udp", ":853", 0}}},
		{"https://global:8443", []listen{{"tcp", ":8443", 0}}},
		{"global {\n bind lo\n}", nil},
		{
			"global {\n bind lo\n ready\n pprof {\n block\n }\n prometheus 127.0.0.1:1\n health nonsense\n}",
			[]listen{{"tcp", "localhost:6053", 4}, {"tcp", "127.0.0.1:1", 7}, {"tcp", ":8181", 3}},
		},
	} {
		t.Run(tt.text, func(t *testing.T) {
			input, err := read(corefile(t, tt.text))
			require.NoError(t, err)
			list, err := blocks(input)
			require.NoError(t, err)
			var got []listen
			for _, key := range list[0].Keys {
				got = append(got, listens(list[0], key)...)
			}
			got = append(got, sideListens(list[0])...)
			require.Equal(t, tt.want, got)
		})
	}
}

func TestDirectivesKeepCoreDNSsOrder(t *testing.T) {
	all := []string{"errors", "cache", "template", "hosts", "route53", "kubernetes", "file", "forward"}
	have := func(name string) bool { return name != "route53" }
	require.Equal(t, []string{"errors", "cache", "template", "hosts", "isthmus", "kubernetes", "file", "forward"}, directives(all, have))
	without := func(name string) bool { return have(name) && name != "isthmus" }
	require.Equal(t, []string{"errors", "cache", "template", "hosts", "kubernetes", "file", "forward"}, directives(all, without))
}

// TestPluginsOfADeployment: what issue and README promise is compiled in.
func TestPluginsOfADeployment(t *testing.T) {
	for _, name := range strings.Fields("bind bufsize errors log health ready prometheus reload cache forward loadbalance rewrite hosts " +
		"loop debug trace dnstap dnssec transfer metadata any whoami file auto secondary autopath " +
		"acl chaos dns64 header local minimal multisocket nsid template tsig view kubernetes k8s_external") {
		require.Contains(t, dnsserver.Directives, name)
	}
	for _, name := range strings.Fields("etcd route53 azure clouddns nomad") {
		require.NotContains(t, dnsserver.Directives, name)
	}
}

// TestReloadAtOnce: CoreDNS alone loses a stop that comes before it reads, and
// an instance that was to be replaced would answer for ever.
func TestReloadAtOnce(t *testing.T) {
	// More threads than processors make it likelier that a server is late.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(8))
	port := freeport.Port(t)
	file := corefile(t, hosts(port, "192.0.2.1"))
	reload := make(chan os.Signal)
	out := new(journal)
	stop := start(t, Options{File: file, Reload: reload, Output: out})
	const times = 50
	for i := range times {
		next := corefile(t, hosts(port, fmt.Sprintf("192.0.2.%d", i+2)))
		require.NoError(t, os.Rename(next, file)) // nobody reads half of it
		reload <- syscall.SIGUSR1                 // taken when the one before is done
	}
	require.Eventually(t, func() bool { return strings.Count(out.String(), "Reloading complete") == times }, 30*time.Second, 5*time.Millisecond, "%s", out)
	for range 100 {
		require.Equal(t, fmt.Sprintf("192.0.2.%d", times+1), address(t, "udp", port, "a.example."))
		require.Equal(t, fmt.Sprintf("192.0.2.%d", times+1), address(t, "tcp", port, "a.example."))
	}
	require.NoError(t, stop())
}

// TestReloadsMeet: a signal and the reload plugin at the same time leave one
// instance, with the newest Corefile.
func TestReloadsMeet(t *testing.T) {
	port := freeport.Port(t)
	file := corefile(t, hosts(port, "192.0.2.1"))
	reload := make(chan os.Signal)
	out := new(journal)
	stop := start(t, Options{File: file, Reload: reload, Output: out})
	const times = 20
	ends := times // one per signal, and one per reload of the plugin that came first
	for i := range times {
		next := corefile(t, hosts(port, fmt.Sprintf("192.0.2.%d", i+2)))
		require.NoError(t, os.Rename(next, file))
		plugin := make(chan error)
		go func() { // what the reload plugin does
			instance := theServer().current.Load()
			input, err := caddy.LoadCaddyfile(serverType)
			if err == nil {
				_, err = instance.Restart(input)
			}
			plugin <- err
		}()
		reload <- syscall.SIGUSR1
		if err := <-plugin; err != nil {
			require.ErrorIs(t, err, errReplaced)
		} else {
			ends++
		}
	}
	// A new instance answers before the old one has ended, which comes with the
	// line that is waited for here.
	require.Eventually(t, func() bool {
		lines := out.String()
		return strings.Count(lines, "Reloading complete")+strings.Count(lines, "Reload: ") == ends
	}, 10*time.Second, time.Millisecond, "%s", out)
	newest := func(network string) bool {
		return address(t, network, port, "a.example.") == fmt.Sprintf("192.0.2.%d", times+1)
	}
	for range 100 {
		require.True(t, newest("udp") && newest("tcp"))
	}
	require.Len(t, caddy.Instances(), 1)
	require.NoError(t, stop())
	require.NotContains(t, out.String(), "[PANIC]")
}
