package transport

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/gossip"
	"github.com/isthmus-dns/isthmus/gossip/trust"
)

// patience bounds waits for real sockets.
const patience = 30 * time.Second

func newAuthority(t testing.TB, clusterset string) *trust.Authority {
	t.Helper()
	a, err := trust.NewAuthority(clusterset)
	require.NoError(t, err)
	return a
}

// identity issues a certificate and loads it, trusting the given roots, or the
// issuer's own.
func identity(t testing.TB, a *trust.Authority, cluster string, role trust.Role, roots ...*trust.Authority) *trust.Identity {
	t.Helper()
	id, _ := issued(t, a, trust.ID{Clusterset: a.Clusterset(), Cluster: cluster, Role: role}, time.Hour, roots...)
	return id
}

func issued(t testing.TB, a *trust.Authority, id trust.ID, lifetime time.Duration, roots ...*trust.Authority) (*trust.Identity, trust.Files) {
	t.Helper()
	dir := t.TempDir()
	files := trust.Files{Cert: filepath.Join(dir, "crt"), Key: filepath.Join(dir, "key"), CA: filepath.Join(dir, "ca")}
	reissue(t, files, a, id, lifetime, append([]*trust.Authority{a}, roots...)...)
	loaded, err := trust.Load(files, a.Clusterset())
	require.NoError(t, err)
	return loaded, files
}

// reissue writes a certificate and the roots that its holder is to trust.
func reissue(t testing.TB, files trust.Files, a *trust.Authority, id trust.ID, lifetime time.Duration, roots ...*trust.Authority) {
	t.Helper()
	cert, key, err := a.Issue(id, lifetime)
	require.NoError(t, err)
	var ca []byte
	for _, r := range roots {
		ca = append(ca, r.CertPEM()...)
	}
	require.NoError(t, os.WriteFile(files.Cert, cert, 0o600))
	require.NoError(t, os.WriteFile(files.Key, key, 0o600))
	require.NoError(t, os.WriteFile(files.CA, ca, 0o600))
}

// logs collects what a transport logs.
type logs struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// running is a transport that runs until the test's end.
type running struct {
	*Transport
	logs *logs
	stop func() // waits for Run; idempotent
}

func (r *running) peer() gossip.Peer { return gossip.Peer{Name: r.cfg.Name, Addr: r.Addr().String()} }

func start(t testing.TB, cfg Config) *running {
	t.Helper()
	if cfg.Listen == "" {
		cfg.Listen = "127.0.0.1:0"
	}
	r := &running{logs: &logs{}}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.NewTextHandler(r.logs, nil))
	}
	tr, err := Listen(cfg)
	require.NoError(t, err)
	r.Transport = tr
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- tr.Run(ctx) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			require.NoError(t, err)
		case <-time.After(patience):
			t.Error("Run does not return")
		}
	})
	t.Cleanup(r.stop)
	<-tr.started
	return r
}

// pair is two transports of clusters west and east.
func pair(t testing.TB, limits Limits) (west, east *running) {
	t.Helper()
	a := newAuthority(t, "prod")
	west = start(t, Config{Name: "w0.west", Identity: identity(t, a, "west", trust.Watcher), Limits: limits})
	east = start(t, Config{Name: "w0.east", Identity: identity(t, a, "east", trust.Watcher), Limits: limits})
	return west, east
}

func value(t testing.TB, c prometheus.Metric) float64 {
	t.Helper()
	var m dto.Metric
	require.NoError(t, c.Write(&m))
	return m.GetCounter().GetValue() + m.GetGauge().GetValue()
}

func (r *running) refusals(t testing.TB, reason string) float64 {
	return value(t, r.metrics.refused.WithLabelValues(reason))
}

// receive waits for one packet.
func receive(t testing.TB, r *running) string {
	t.Helper()
	select {
	case p := <-r.Packets():
		return string(p.Buf)
	case <-time.After(patience):
		require.FailNow(t, "no packet", r.logs.String())
		return ""
	}
}

// requireClosed wants the other side to close a connection.
func requireClosed(t testing.TB, c net.Conn) {
	t.Helper()
	require.NoError(t, c.SetReadDeadline(time.Now().Add(patience)))
	_, err := c.Read(make([]byte, 1))
	require.Error(t, err)
	require.NotErrorIs(t, err, os.ErrDeadlineExceeded)
}

func dial(t testing.TB, from *running, to gossip.Peer) (net.Conn, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return from.Dial(ctx, to)
}
