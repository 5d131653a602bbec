// Package watch is a watcher's life: it puts a source, the replica, the gossip
// pool, their one TLS port and the HTTP server together, and runs them.
package watch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/isthmus-dns/isthmus/cmd/isthmus/internal/api"
	"github.com/isthmus-dns/isthmus/cmd/isthmus/internal/config"
	"github.com/isthmus-dns/isthmus/cmd/isthmus/internal/lifecycle"
	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/discovery/external"
	"github.com/isthmus-dns/isthmus/discovery/probe"
	"github.com/isthmus-dns/isthmus/gossip"
	"github.com/isthmus-dns/isthmus/gossip/replica"
	"github.com/isthmus-dns/isthmus/gossip/transport"
	"github.com/isthmus-dns/isthmus/gossip/trust"
	"github.com/isthmus-dns/isthmus/plugin/isthmus"
)

// Options are what the command line and the environment say.
type Options struct {
	Logger  *slog.Logger
	Version string
	// Watcher is this watcher's own label in its member name; empty takes
	// $POD_NAME or the host's name.
	Watcher string
	// AllowLoopback lets gateways stand on loopback, for the demo and tests.
	AllowLoopback bool
	// damping is that of checks of external endpoints, for tests; 0 is the
	// default.
	damping time.Duration
	// Reload asks for the configuration file to be read again, whether it has
	// changed or not. Nil: nobody asks.
	Reload <-chan os.Signal
}

// IsConfig tells whether Run ended by something that the user mends in
// watcher.yaml, though only meeting other clusters could show it.
func IsConfig(err error) bool { return errors.As(err, new(config.Problem)) }

// Watcher is a watcher that is put together and holds its ports, and does not
// live yet.
type Watcher struct {
	config    *config.Config                // as it was at the start
	live      atomic.Pointer[config.Config] // with what has changed since; file and line numbers are the start's
	reload    <-chan os.Signal
	reloads   *reloads
	view      view
	log       *slog.Logger
	table     *discovery.Table
	metrics   *prometheus.Registry
	identity  *trust.Identity
	transport *transport.Transport
	replica   *replica.Replica
	pool      *gossip.Pool
	publisher *replica.Publisher
	source    source
	http      net.Listener
	api       *api.Server
	explainer *isthmus.Explainer
	gateways  *gateways
	external  *external.Checker
	leading   leading
}

// New puts a watcher together: files are read and ports are bound, so that
// whatever is wrong shows before anything runs. Close it if it is not run.
func New(c *config.Config, o Options) (*Watcher, error) {
	w := &Watcher{config: c, log: o.Logger.With("self", c.Cluster), table: discovery.NewTable(), metrics: prometheus.NewRegistry()}
	w.metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	w.metrics.MustRegister(w.leading.gauge())
	w.live.Store(c)
	w.reload, w.reloads = o.Reload, newReloads(w.metrics)
	var err error
	if err := errors.Join(advertised(c), publishable(c)); err != nil {
		return nil, err
	}
	if w.identity, err = identity(c); err != nil {
		return nil, err
	}
	member, err := memberName(o.Watcher, c.Cluster)
	if err != nil {
		return nil, err
	}
	if err := w.bind(member); err != nil {
		return nil, err
	}
	if err := w.join(member); err != nil {
		w.Close()
		return nil, err
	}
	if w.external, err = w.newExternal(o); err != nil {
		w.Close()
		return nil, err
	}
	// Last, because it may write to the state folder.
	if w.source, err = w.newSource(o, member); err != nil {
		w.Close()
		return nil, err
	}
	w.publisher.ConfirmWith(w.source)
	w.publisher.BeginWith(w.external.Inherit)
	w.explainer = w.newExplainer()
	w.api = w.newAPI(o.Version, member)
	return w, nil
}

// advertised wants an address that others reach us by: though we join nobody,
// they may join us.
func advertised(c *config.Config) error {
	if c.Gossip.Advertise == "" {
		return c.Problem("gossip.advertise", "is missing: add advertise: HOST:PORT, the address that other clusters reach this one by")
	}
	return nil
}

// identity loads the watcher's certificate and wants it to name the cluster.
func identity(c *config.Config) (*trust.Identity, error) {
	own := trust.ID{Clusterset: c.Clusterset, Cluster: c.Cluster, Role: trust.Watcher}
	if c.Insecure {
		return trust.Insecure(own)
	}
	i, err := trust.Load(trust.Files{Cert: c.TLS.Cert, Key: c.TLS.Key, CA: c.TLS.CA}, c.Clusterset)
	if err != nil {
		return nil, c.Problem("tls", "%v", err)
	}
	if i.ID() != own {
		return nil, c.Problem("tls.cert", "%s names %s, but this is %s; use that cluster's watcher certificate", c.TLS.Cert, i.ID(), own)
	}
	return i, nil
}

// bind takes the watcher's two ports.
func (w *Watcher) bind(member string) error {
	var err error
	w.transport, err = transport.Listen(transport.Config{
		Listen: w.config.Gossip.Listen, Name: member, Identity: w.identity, Siblings: w.config.Gossip.Siblings,
		Logger: w.log, Registerer: w.metrics,
	})
	if err != nil {
		return w.config.Problem("gossip.listen", "%v", err)
	}
	if w.http, err = listen(w.config.HTTP); err != nil {
		w.Close()
		return w.config.Problem("http", "%v", err)
	}
	return nil
}

// join makes the replica and the pool that carries its messages.
func (w *Watcher) join(member string) error {
	seeds := seeds(w.config)
	memory := gossip.OpenMemory(w.config.State, w.log)
	routing, err := w.config.Routing.Encode()
	if err != nil {
		return w.config.Problem("routing", "%v", err)
	}
	w.view.now = replica.View{
		Cluster: w.config.Cluster, Network: w.config.Network, Locality: w.config.Locality, Routing: routing,
	}
	w.replica, err = replica.New(replica.Config{
		Member: member, Identity: w.identity, Table: w.table, Logger: w.log, Registerer: w.metrics,
		Viewer:      w.view.now,
		ExpectPeers: len(seeds)+memory.Len() > 0,
		Import:      w.config.Import, Forget: w.config.Forget,
	})
	if err != nil {
		return err
	}
	w.view.tell = w.replica.SetView
	w.gateways, err = newGateways(w.config.Cluster, w.table, w.replica, probe.Config{
		Policy: probe.Policy{Health: w.config.Health}, Logger: w.log, Registerer: w.metrics,
	})
	if err != nil {
		return err
	}
	w.publisher = w.replica.NewPublisher()
	w.pool, err = gossip.New(gossip.Config{
		Name: member, Advertise: w.config.Gossip.Advertise, Join: seeds,
		Transport: w.transport, Handler: w.replica, Memory: memory, Logger: w.log, Registerer: w.metrics,
	})
	if err != nil {
		return w.config.Problem("gossip", "%v", err)
	}
	w.replica.Attach(&network{pool: w.pool, sibling: w.transport.Sibling, cluster: w.config.Cluster})
	return nil
}

// seeds are whom to join. Siblings are: those of one address would not look for
// one another there.
func seeds(c *config.Config) []string {
	seeds := slices.Concat(c.Gossip.Join, c.Gossip.Siblings)
	slices.Sort(seeds)
	return slices.Compact(seeds)
}

// Close gives the ports of a watcher back that was never run.
func (w *Watcher) Close() {
	if w.transport != nil {
		_ = w.transport.Close()
	}
	if w.http != nil {
		w.http.Close()
	}
}

// Run lives until ctx ends or a part fails.
func (w *Watcher) Run(ctx context.Context) error {
	if w.config.Insecure {
		w.log.Warn("insecure: true: gossip and streams are in plain text, and whoever reaches the port can publish for any cluster")
	}
	if err := w.identity.ClockDoubt(); err != nil {
		w.log.Warn("clock or certificate is wrong", "error", err)
	}
	w.log.Info("watcher starts", "clusterset", w.config.Clusterset, "listen", w.transport.Addr().String(),
		"advertise", w.config.Gossip.Advertise, "http", w.http.Addr().String())
	err := lifecycle.Run(
		ctx,
		lifecycle.Part{Name: "http", Run: func(ctx context.Context) error { return w.api.Serve(ctx, w.http) }},
		lifecycle.Part{Name: "certificates", Run: func(ctx context.Context) error { return w.identity.Run(ctx, w.log) }},
		lifecycle.Part{Name: "transport", Run: w.transport.Run},
		lifecycle.Part{Name: "grpc", Run: func(ctx context.Context) error { return w.replica.Serve(ctx, w.transport.GRPC()) }},
		lifecycle.Part{Name: "replica", Run: w.replica.Run},
		lifecycle.Part{Name: "explain", Run: w.explainer.Run},
		lifecycle.Part{Name: "gossip", Run: w.pool.Run},
		lifecycle.Part{Name: "siblings", Run: w.replica.FollowSiblings},
		lifecycle.Part{Name: "gateways", Run: w.gateways.run},
		lifecycle.Part{Name: "checks", Run: w.gateways.check},
		lifecycle.Part{Name: "heartbeat", Run: w.publisher.Run},
		lifecycle.Part{Name: "source", Run: func(ctx context.Context) error { return w.source.run(ctx, w.external.Update) }},
		lifecycle.Part{Name: "publisher", Run: w.lead},
		lifecycle.Part{Name: "configuration", Run: w.follow},
	)
	switch {
	case errors.Is(err, replica.ErrNameTaken):
		return w.nameTaken(err)
	case errors.Is(err, replica.ErrRetired):
		return w.config.Problem("cluster", "%v", err)
	}
	return err
}

// nameTaken says how to mend it. Where the uid lies in a folder, losing that
// makes a cluster a stranger to its peers, and only its operator knows that it
// is not another one.
func (w *Watcher) nameTaken(err error) error {
	if w.config.Source.Manifests == nil {
		return w.config.Problem("cluster", "%v", err)
	}
	return w.config.Problem("cluster", "%v; if it is this cluster and its state was lost, write the other uid to %s",
		err, filepath.Join(w.config.State, uidFile))
}

// lead publishes, and has gateways and external endpoints checked, whenever this
// watcher is the elected one.
func (w *Watcher) lead(ctx context.Context) error {
	return w.source.elect(ctx, func(ctx context.Context) {
		w.leading.set(true)
		defer w.leading.set(false)
		var checking sync.WaitGroup
		defer checking.Wait()
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		checking.Go(func() { w.external.Lead(ctx) })
		checking.Go(func() { w.gateways.lead(ctx) })
		checking.Go(func() { w.source.report(ctx) })
		if err := w.publisher.Lead(ctx, w.source); err != nil {
			w.log.Error("publishing ended", "error", err)
		}
	})
}

// memberName is "<watcher>.<cluster>". A Pod's name may hold dots only in
// theory and a host's name does so often: the first label is taken.
func memberName(watcher, cluster string) (string, error) {
	if watcher == "" {
		watcher = os.Getenv("POD_NAME")
	}
	if watcher == "" {
		host, err := os.Hostname()
		if err != nil {
			return "", fmt.Errorf("host name: %w; set POD_NAME", err)
		}
		watcher = host
	}
	label, _, _ := strings.Cut(strings.ToLower(watcher), ".")
	if err := discovery.ValidLabel(label); err != nil {
		return "", fmt.Errorf("watcher name %q %w; set POD_NAME to a DNS label", label, err)
	}
	return label + "." + cluster, nil
}

// listen is net.Listen with an error that says what to do.
func listen(addr string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("%w; stop what holds the port or choose another", err)
	}
	return l, nil
}
