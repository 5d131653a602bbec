package kube

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/discovery/export"
)

// defaultDiscoverEvery is how long a newly installed CRD stays unseen. Asking
// costs the API server a few small cached reads.
const defaultDiscoverEvery = 30 * time.Second

// Config is what a Source needs. Client, Dynamic, Cluster, Namespace and
// Identity are required.
type Config struct {
	// Client and Dynamic talk to the API server; [Connect] makes them.
	Client  kubernetes.Interface
	Dynamic dynamic.Interface

	// Cluster makes the cluster's own record from its nodes and the UID of
	// its kube-system namespace. It is called by one goroutine, whenever a
	// node changed and after [Source.Refresh]; it must not keep or change the nodes. Nil leaves the
	// record as it is.
	Cluster func(nodes []*corev1.Node, uid string) *discovery.Cluster

	// Gateways are the entries of the cluster's gateway sets; the record's
	// GatewaySets are what they come to. It is asked for often and must not
	// wait. Nil leaves the record's own.
	Gateways func() []export.SetEntry

	// Options say what is exported and how. PodCIDRs and ServiceCIDRs add to
	// those that the nodes and the ServiceCIDR objects name.
	Options export.Options

	// Conflict tells in what this cluster's record of a service differs from
	// those of others ([export.Conflict]); empty when they agree. Nil: not known.
	Conflict func(discovery.Key) (reason, message string)

	// Namespace is where the Lease and the epoch's ConfigMap live.
	Namespace string

	// Identity names this replica in the Lease: the Pod's name. Two replicas
	// with one identity would both lead.
	Identity string

	// DiscoverEvery is how often to look which of the optional kinds
	// (ServiceExport, Ingress, Gateway API, Istio's) are there and may be read; 0 means
	// 30 s.
	DiscoverEvery time.Duration

	// MissingCRD is how long [Source.Confirm] does not take a missing
	// ServiceExport CRD for an answer; 0 means an hour.
	MissingCRD time.Duration

	Logger     *slog.Logger          // nil: silent
	Registerer prometheus.Registerer // nil: metrics are kept, but nowhere shown
}

// Validate says what is missing.
func (c *Config) Validate() error {
	switch {
	case c.Client == nil || c.Dynamic == nil:
		return errors.New("kubernetes source: no client")
	case c.Cluster == nil:
		return errors.New("kubernetes source: nothing makes the cluster's record")
	case c.Namespace == "":
		return errors.New("kubernetes source: no namespace for the Lease")
	case c.Identity == "":
		return errors.New("kubernetes source: no identity for the Lease")
	case c.DiscoverEvery < 0:
		return fmt.Errorf("kubernetes source: DiscoverEvery %v is negative", c.DiscoverEvery)
	case c.MissingCRD < 0:
		return fmt.Errorf("kubernetes source: MissingCRD %v is negative", c.MissingCRD)
	}
	return nil
}

// Source is one watcher's view of its cluster. Run, Elect and NextEpoch are
// independent: a replica that does not lead runs its source all the same, so
// that it can publish at once when it wins.
type Source struct {
	cfg      Config
	log      *slog.Logger
	metrics  *metrics
	verdicts *verdicts
	first    chan struct{}                                     // closed when the first update of the first Run is out
	began    func()                                            // closes it, once
	watching atomic.Pointer[watch]                             // of the current Run, nil before the first
	queue    atomic.Pointer[workqueue.Typed[cache.ObjectName]] // of the current Run, nil before the first
	absent   absence                                           // of the ServiceExport CRD
	elector  atomic.Pointer[leaderelection.LeaderElector]      // of the current candidacy
}

// New makes a Source. It starts nothing and asks the API server nothing.
func New(cfg Config) (*Source, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.DiscoverEvery == 0 {
		cfg.DiscoverEvery = defaultDiscoverEvery
	}
	if cfg.MissingCRD == 0 {
		cfg.MissingCRD = defaultMissingCRD
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	m, err := newMetrics(cfg.Registerer)
	if err != nil {
		return nil, fmt.Errorf("kubernetes source: %w", err)
	}
	first := make(chan struct{})
	return &Source{
		cfg: cfg, log: cfg.Logger, metrics: m, verdicts: newVerdicts(), first: first, began: sync.OnceFunc(func() { close(first) }),
	}, nil
}

// logging makes client-go log to the source's logger instead of klog's own
// text on stderr.
func (s *Source) logging(ctx context.Context) context.Context {
	return klog.NewContext(ctx, logr.FromSlogHandler(s.log.Handler()))
}

// pause waits; false when ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
