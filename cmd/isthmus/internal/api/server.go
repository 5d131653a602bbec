package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/isthmus-dns/isthmus/plugin/isthmus"
)

const (
	// DefaultLimit is the services of a page. A thousand take half a megabyte.
	DefaultLimit = 1000
	// MaxLimit is what a client may ask for.
	MaxLimit = 10_000
	// atOnce is how many requests are worked on: people, one Prometheus, the
	// kubelet. More get 503.
	atOnce = 16
	// stopTime is what requests under way get to end.
	stopTime = 2 * time.Second
)

// Server answers requests about a watcher.
type Server struct {
	http *http.Server
	log  *slog.Logger
}

// New makes a server that shows a state and the metrics of a gatherer. It
// listens to nothing before Serve.
func New(about About, state State, metrics prometheus.Gatherer, log *slog.Logger) *Server {
	h := &handler{about: about, state: state}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{
		MaxRequestsInFlight: 4, Timeout: 10 * time.Second, // Prometheus's default scrape timeout
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", h.ready)
	mux.HandleFunc("GET /api/v1/status", h.status)
	mux.HandleFunc("GET /api/v1/services", h.services)
	mux.HandleFunc("GET /api/v1/explain", h.explain)
	mux.HandleFunc("GET /api/v1/gateways", h.gateways)
	return &Server{log: log, http: &http.Server{
		Handler: bounded(mux),
		// Requests have no body and short headers; answers of MaxLimit
		// services take seconds on a slow line.
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       60 * time.Second,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}}
}

// Serve answers on a listener until ctx ends, and closes it.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	stopped := make(chan error, 1)
	defer context.AfterFunc(ctx, func() {
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
		defer cancel()
		err := s.http.Shutdown(ending)
		if err != nil {
			err = s.http.Close() // whoever is slow is cut off
		}
		stopped <- err
	})()
	if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("http server: %w", err)
	}
	return <-stopped
}

// bounded refuses what is too much at once. Health is always told: a kubelet
// must not restart a watcher because people ask it much.
func bounded(next http.Handler) http.Handler {
	slots := make(chan struct{}, atOnce)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/healthz" || r.URL.Path == "/readyz" {
			next.ServeHTTP(w, r)
			return
		}
		select {
		case slots <- struct{}{}:
			defer func() { <-slots }()
			next.ServeHTTP(w, r)
		default:
			w.Header().Set("Retry-After", "1")
			http.Error(w, "too many requests at once", http.StatusServiceUnavailable)
		}
	})
}

type handler struct {
	about About
	state State
}

func (h *handler) ready(w http.ResponseWriter, _ *http.Request) {
	if !h.state.Ready() {
		http.Error(w, "the part of cluster "+h.about.Cluster+" is not known yet", http.StatusServiceUnavailable)
		return
	}
	_, _ = fmt.Fprintln(w, "ok")
}

func (h *handler) status(w http.ResponseWriter, _ *http.Request) {
	answer(w, status(h.about, h.state))
}

func (h *handler) gateways(w http.ResponseWriter, _ *http.Request) {
	answer(w, checks(h.state.Checks()))
}

func (h *handler) services(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	limit := DefaultLimit
	if s := query.Get("limit"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > MaxLimit {
			http.Error(w, fmt.Sprintf("limit: want a number from 1 to %d", MaxLimit), http.StatusBadRequest)
			return
		}
		limit = n
	}
	var after place
	if s := query.Get("after"); s != "" {
		var ok bool
		if after, ok = parsePlace(s); !ok {
			http.Error(w, "after: want namespace/name", http.StatusBadRequest)
			return
		}
	}
	answer(w, page(h.state.Table(), query.Get("namespace"), after, limit))
}

// explain takes name, from, client, and without as often as wanted.
func (h *handler) explain(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	ask := isthmus.Question{Name: query.Get("name"), From: query.Get("from"), Without: query["without"]}
	if s := query.Get("client"); s != "" {
		var err error
		if ask.Client, err = netip.ParseAddr(s); err != nil {
			http.Error(w, "client: want an IP address", http.StatusBadRequest)
			return
		}
	}
	e, err := h.state.Explain(ask)
	switch {
	case errors.Is(err, isthmus.ErrUnknownService):
		http.Error(w, err.Error(), http.StatusNotFound)
	case errors.Is(err, isthmus.ErrQuestion):
		http.Error(w, err.Error(), http.StatusBadRequest)
	case err != nil:
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	default:
		answer(w, e)
	}
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(v) // fails only when the client has gone
}
