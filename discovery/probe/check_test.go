package probe

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/test/freeport"
)

// once makes one check of a server on loopback. One that is to time out does
// so soon; the others have all the time that a busy machine may need.
func once(t *testing.T, a *authority, at netip.AddrPort, target Target, want outcome) result {
	t.Helper()
	c := checker{dial: dialTCP}
	if a != nil {
		c.roots = a.pool
	}
	target.Addr, target.Port = at.Addr(), at.Port()
	timeout := time.Minute
	if want == timedOut {
		timeout = 500 * time.Millisecond
	}
	return c.check(t.Context(), target.identity(), timeout)
}

func TestCheckTCP(t *testing.T) {
	closed := netip.MustParseAddrPort(net.JoinHostPort("127.0.0.1", freeport.Port(t)))
	for name, tc := range map[string]struct {
		at   netip.AddrPort
		want result
	}{
		"listens":         {serve(t, silent), result{}},
		"hangs up":        {serve(t, hangUp), result{}},
		"talks":           {serve(t, saysForEver("", "garbage")), result{}},
		"nobody listens":  {closed, result{outcome: refused, detail: "connect: connection refused"}},
		"packets dropped": {deaf(t), result{outcome: timedOut, detail: "connect: timed out"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := once(t, nil, tc.at, Target{}, tc.want.outcome)
			require.Equal(t, tc.want.outcome == good, got.rtt > 0)
			got.rtt = 0
			require.Equal(t, tc.want, got)
		})
	}
}

func TestCheckTLS(t *testing.T) {
	a, other := newAuthority(t), newAuthority(t)
	plain := a.server(t, "gw.example", time.Hour, 0)
	expired := a.server(t, "gw.example", -time.Hour, 0)
	mutual := func(version uint16) *tls.Config {
		c := plain.Clone()
		c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, a.pool
		c.MinVersion, c.MaxVersion = version, version
		return c
	}
	old := plain.Clone()
	old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS10
	old.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA}
	// Knows one name; refuses others as Envoy's filter chains do, by closing.
	selective := plain.Clone()
	selective.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		if h.ServerName != "gw.example" {
			h.Conn.Close()
		}
		return nil, nil
	}
	named, verified := Target{Host: "gw.example"}, Target{Host: "gw.example", Verify: true}
	tests := []struct {
		name   string
		server func(net.Conn)
		target Target
		want   result
	}{
		{"any certificate will do", inTLS(plain, silent), Target{}, result{}},
		{"even one that expired", inTLS(expired, silent), named, result{}},
		{"an old one", inTLS(old, silent), named, result{}},
		{"an old one, verified", inTLS(old, silent), verified, result{outcome: badTLS}},
		{"verified", inTLS(plain, silent), verified, result{}},
		{"verified by address", inTLS(plain, silent), Target{Verify: true}, result{}},
		{"another name", inTLS(plain, silent), Target{Host: "other.example", Verify: true}, result{outcome: badTLS, detail: "tls: certificate for another name"}},
		{"expired", inTLS(expired, silent), verified, result{outcome: badTLS, detail: "tls: certificate expired or not yet valid"}},
		{
			"unknown authority", inTLS(other.server(t, "gw.example", time.Hour, 0), silent), verified,
			result{outcome: badTLS, detail: "tls: certificate of an unknown authority"},
		},
		{"wants a certificate, TLS 1.3", inTLS(mutual(tls.VersionTLS13), silent), named, result{}},
		{"wants a certificate, TLS 1.2", inTLS(mutual(tls.VersionTLS12), silent), named, result{}},
		{"wants a certificate and shows a bad one", inTLS(mutual(tls.VersionTLS12), silent), Target{Host: "other.example", Verify: true}, result{outcome: badTLS, detail: "tls: certificate for another name"}},
		{"knows the name", inTLS(selective, silent), named, result{}},
		{"doesn't know the name", inTLS(selective, silent), Target{Host: "x.example"}, result{outcome: reset, detail: "tls: connection closed"}},
		{"has no certificate", inTLS(&tls.Config{GetCertificate: noCertificate}, silent), named, result{outcome: badTLS, detail: "tls: internal error"}},
		{"hangs up", serveOnly(hangUp), named, result{outcome: reset, detail: "tls: connection closed"}},
		{"says nothing", silent, named, result{outcome: timedOut, detail: "tls: timed out"}},
		{"speaks HTTP", says("HTTP/1.1 400 Bad Request\r\n\r\n"), named, result{outcome: badTLS, detail: "tls: the peer speaks no TLS"}},
		{"endless garbage", saysForEver("", "\x16\x03\x03\x40\x00"+strings.Repeat("\x02\xff\xff\xff", 1<<12)), named, result{outcome: badTLS}},
		{"drips", drips(strings.Repeat("\x16\x03\x03\x00\x01\x02", 1000)), named, result{outcome: timedOut, detail: "tls: timed out"}},
		{"a certificate too large", inTLS(a.server(t, "gw.example", time.Hour, 80<<10), silent), named, result{outcome: badTLS}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			tc.target.Check = discovery.CheckTLS
			got := once(t, a, serve(t, tc.server), tc.target, tc.want.outcome)
			require.Equal(t, tc.want.outcome, got.outcome, got.detail)
			if tc.want.detail != "" || tc.want.outcome == good {
				require.Equal(t, tc.want.detail, got.detail)
			}
			require.Positive(t, got.rtt, "it did connect")
		})
	}
}

// serveOnly waits for the client's first words: a connection that is closed
// with unread octets is reset.
func serveOnly(answer func(net.Conn)) func(net.Conn) {
	return func(conn net.Conn) {
		readRequest(conn)
		answer(conn)
	}
}

func noCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return nil, fmt.Errorf("none")
}

func TestCheckHTTP(t *testing.T) {
	a := newAuthority(t)
	secure := a.server(t, "gw.example", time.Hour, 0)
	status := func(code int, detail string) result { return result{outcome: badStatus, detail: detail} }
	bad := result{outcome: badProtocol, detail: "http: malformed response"}
	tests := []struct {
		name   string
		server func(net.Conn)
		secure bool
		want   result
	}{
		{"200", says("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), false, result{}},
		{"204 of HTTP/1.0", says("HTTP/1.0 204 No Content\r\n\r\n"), false, result{}},
		{"301 is good and not followed", says("HTTP/1.1 301 Moved\r\nLocation: http://192.0.2.1/\r\n\r\n"), false, result{}},
		{"399", says("HTTP/1.1 399 X\r\n\r\n"), false, result{}},
		{"400", says("HTTP/1.1 400 X\r\n\r\n"), false, status(400, "http: status 400")},
		{"503", says("HTTP/1.1 503 Service Unavailable\r\n\r\n"), false, status(503, "http: status 503")},
		{"101", says("HTTP/1.1 101 Switching Protocols\r\n\r\n"), false, status(101, "http: status 101")},
		{"early hints", says("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n"), false, result{}},
		{"endless hints", saysForEver("", "HTTP/1.1 103 Early Hints\r\n\r\n"), false, bad},
		{"endless body", saysForEver("HTTP/1.1 200 OK\r\n\r\n", strings.Repeat("x", 4096)), false, result{}},
		{"endless chunks", saysForEver("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "4\r\nxxxx\r\n"), false, result{}},
		{"endless header", saysForEver("HTTP/1.1 200 OK\r\n", "X-Filler: "+strings.Repeat("x", 100)+"\r\n"), false, result{outcome: badProtocol, detail: "http: the peer sends too much"}},
		{"endless line", saysForEver("", "x"), false, result{outcome: badProtocol, detail: "http: the peer sends too much"}},
		{"slow header", drips("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n"), false, result{outcome: timedOut, detail: "http: timed out"}},
		{"silence", silent, false, result{outcome: timedOut, detail: "http: timed out"}},
		{"hangs up", serveOnly(hangUp), false, result{outcome: reset, detail: "http: connection closed"}},
		{"garbage", says("\x00\x01\x02\r\n\r\n"), false, bad},
		{"HTTP/0.9", says("<html>fine</html>\r\n\r\n"), false, bad},
		{"TLS", inTLS(secure, silent), false, result{outcome: reset, detail: "http: connection closed"}},
		{"inside TLS", inTLS(secure, says("HTTP/1.1 200 OK\r\n\r\n")), true, result{}},
		{"503 inside TLS", inTLS(secure, says("HTTP/1.1 503 X\r\n\r\n")), true, status(503, "http: status 503")},
		{"plain where TLS is wanted", says("HTTP/1.1 200 OK\r\n\r\n"), true, result{outcome: badTLS, detail: "tls: the peer speaks no TLS"}},
		{"endless header inside TLS", inTLS(secure, saysForEver("HTTP/1.1 200 OK\r\n", "X: y\r\n")), true, result{outcome: badProtocol, detail: "http: the peer sends too much"}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got := once(t, a, serve(t, tc.server), Target{Check: discovery.CheckHTTP, Host: "gw.example", Secure: tc.secure, Verify: tc.secure}, tc.want.outcome)
			require.Equal(t, tc.want.outcome, got.outcome, got.detail)
			if tc.want.detail != "" || tc.want.outcome == good {
				require.Equal(t, tc.want.detail, got.detail)
			}
		})
	}
}

// What a server sees: the Host and the path, each time on a connection of its
// own, whatever the environment says of proxies.
func TestCheckRequest(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://192.0.2.1:3128")
	t.Setenv("ALL_PROXY", "http://192.0.2.1:3128")
	var mu sync.Mutex
	var seen []string
	peers := map[string]bool{}
	at := web(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, fmt.Sprintln(r.Method, r.Host, r.RequestURI, r.UserAgent(), r.Close))
		peers[r.RemoteAddr] = true
		http.Redirect(w, r, "/elsewhere", http.StatusFound)
	})
	require.Equal(t, good, once(t, nil, at, Target{Check: discovery.CheckHTTP}, good).outcome)
	require.Equal(t, good, once(t, nil, at, Target{Check: discovery.CheckHTTP, Host: "gw.example", Path: "/healthz/ready?full=1"}, good).outcome)
	mu.Lock()
	defer mu.Unlock()
	require.Equal(t, []string{
		fmt.Sprintln("GET", at, "/ isthmus-probe true"),
		fmt.Sprintln("GET gw.example /healthz/ready?full=1 isthmus-probe true"),
	}, seen)
	require.Len(t, peers, 2)
}

// A check leaves nothing behind, however it ends: no goroutine, no descriptor.
func TestCheckLeaks(t *testing.T) {
	a := newAuthority(t)
	secure := a.server(t, "gw.example", time.Hour, 0)
	servers := map[discovery.Check][]netip.AddrPort{
		discovery.CheckTCP:  {serve(t, silent), serve(t, hangUp), deaf(t)},
		discovery.CheckTLS:  {serve(t, inTLS(secure, silent)), serve(t, silent), serve(t, hangUp), serve(t, saysForEver("", "x"))},
		discovery.CheckHTTP: {serve(t, says("HTTP/1.1 200 OK\r\n\r\n")), serve(t, silent), serve(t, hangUp), serve(t, saysForEver("", "x"))},
	}
	// The collector closes connections that nobody has closed.
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	goroutines, files := runtime.NumGoroutine(), openFiles(t)
	c := checker{dial: dialTCP, roots: a.pool}
	var wg sync.WaitGroup
	for check, addrs := range servers {
		for _, at := range addrs {
			for range 20 {
				wg.Go(func() {
					c.check(context.Background(), Target{Addr: at.Addr(), Port: at.Port(), Check: check, Path: "/"}, 200*time.Millisecond)
				})
				wg.Go(func() { // the prober stops
					ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
					defer cancel()
					c.check(ctx, Target{Addr: at.Addr(), Port: at.Port(), Check: check, Path: "/"}, time.Hour)
				})
			}
		}
	}
	wg.Wait()
	require.Eventually(t, func() bool { return runtime.NumGoroutine() <= goroutines+1 && /* this one */ openFiles(t) <= files }, time.Minute, 10*time.Millisecond,
		"goroutines and files come down to %d and %d", goroutines, files)
}

func openFiles(t *testing.T) int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("no /proc")
	}
	return len(entries)
}

func FuzzReadStatus(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"))
	f.Add([]byte("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 503 X\r\nTransfer-Encoding: chunked\r\n\r\n"))
	f.Add(bytes.Repeat([]byte("HTTP/1.1 103 Early Hints\r\n\r\n"), 20))
	f.Add([]byte("HTTP/1.1 200 OK\r\n" + strings.Repeat("A: b\r\n", 10_000)))
	f.Fuzz(func(t *testing.T, data []byte) {
		r := bytes.NewReader(append(data, make([]byte, 2*maxHeader)...))
		status, err := readStatus(r, &http.Request{Method: http.MethodGet})
		require.LessOrEqual(t, r.Size()-int64(r.Len()), int64(maxHeader), "octets read")
		require.True(t, err != nil || status == http.StatusSwitchingProtocols || status >= 200 && status <= 999)
	})
}

// failure's texts are ours: nothing of the peer's, nothing that differs.
func TestFailureTexts(t *testing.T) {
	at := serve(t, says("evil\x1b[2J\r\n\r\n"))
	first := once(t, nil, at, Target{Check: discovery.CheckHTTP}, badProtocol)
	require.Equal(t, "http: malformed response", first.detail)
	require.Equal(t, unreachable, failure(syscall.EACCES, "connect").outcome, "what an IPv6 router says that lets nobody through")
	require.Equal(t, "connect: no connection", failure(io.ErrClosedPipe, "connect").detail)
}
