package watch

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/isthmus-dns/isthmus/cmd/isthmus/internal/config"
	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/discovery/export"
	"github.com/isthmus-dns/isthmus/discovery/kube"
	"github.com/isthmus-dns/isthmus/discovery/manifest"
	"github.com/isthmus-dns/isthmus/gossip/replica"
)

// source is where the cluster's part comes from, who may publish it, and where
// the epoch is kept: API server or a folder.
type source interface {
	run(ctx context.Context, emit func(discovery.Update)) error
	// elect calls lead whenever and for as long as this watcher publishes.
	elect(ctx context.Context, lead func(ctx context.Context)) error
	// report tells the owners of services what became of them, while this
	// watcher publishes.
	report(ctx context.Context)
	// Refresh has the cluster's record made anew.
	Refresh()
	replica.Epochs
	replica.Confirmer
}

func (w *Watcher) newSource(o Options, member string) (source, error) {
	options := export.Options{
		All:           w.config.Source.Export == config.ExportAll,
		SharesNetwork: w.config.Network != "",
		NodeAddresses: w.config.Source.Nodes,
		AllowLoopback: o.AllowLoopback,
	}
	if k := w.config.Source.Kubernetes; k != nil {
		options.Zones = k.Zones
	}
	if w.config.Source.Manifests != nil {
		return w.newManifests(options)
	}
	return w.newKubernetes(options, member)
}

// record makes the cluster's own record; the locality is the nodes' unless the
// configuration gives one.
func (w *Watcher) record(nodes []*corev1.Node, uid string) *discovery.Cluster {
	c := w.live.Load()
	locality := c.Locality
	if locality == (discovery.Locality{}) {
		locality = export.ClusterLocality(nodes)
	}
	w.view.change(func(v *replica.View) { v.Locality = locality })
	return &discovery.Cluster{
		Name: c.Cluster, UID: uid, Network: c.Network, Locality: locality,
	}
}

// entries are those of the gateway sets in force.
func (w *Watcher) entries() []export.SetEntry { return w.live.Load().Entries() }

// kubernetes is a cluster's API server. All watchers of the cluster read it;
// the holder of a Lease publishes.
type kubernetes struct{ *kube.Source }

func (k kubernetes) run(ctx context.Context, emit func(discovery.Update)) error {
	return k.Run(ctx, emit)
}

func (k kubernetes) elect(ctx context.Context, lead func(ctx context.Context)) error {
	return k.Elect(ctx, lead)
}

func (k kubernetes) report(ctx context.Context) { k.Report(ctx) }

// conflict tells in what our record of a service differs from others'.
func (w *Watcher) conflict(key discovery.Key) (reason, message string) {
	entry := w.table.Lookup(key)
	if entry == nil {
		return "", ""
	}
	return export.Conflict(w.config.Cluster, entry.Candidates)
}

func (w *Watcher) newKubernetes(options export.Options, member string) (source, error) {
	c := w.config.Source.Kubernetes
	clients, err := kube.Connect(c.Kubeconfig, c.Context)
	if err != nil {
		return nil, w.config.Problem("source.kubernetes", "%v", err)
	}
	namespace := c.Namespace
	if namespace == "" {
		if namespace, err = podNamespace(); err != nil {
			return nil, w.config.Problem("source.kubernetes", "%v", err)
		}
	}
	s, err := kube.New(kube.Config{
		Client: clients.Kubernetes, Dynamic: clients.Dynamic, Cluster: w.record, Gateways: w.entries, Conflict: w.conflict, Options: options,
		Namespace: namespace, Identity: member, Logger: w.log, Registerer: w.metrics,
	})
	if err != nil {
		return nil, err
	}
	return kubernetes{s}, nil
}

// podNamespace is the namespace this Pod runs in.
func podNamespace() (string, error) {
	if n := os.Getenv("POD_NAMESPACE"); n != "" {
		return n, nil
	}
	data, err := os.ReadFile("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
	if err != nil {
		return "", fmt.Errorf("name the namespace for the Lease, or set POD_NAMESPACE: %w", err)
	}
	return strings.TrimSpace(string(data)), nil
}

// manifests is a folder. Whoever reads it publishes: there is one watcher.
type manifests struct {
	*manifest.Source
	state
}

func (m manifests) run(ctx context.Context, emit func(discovery.Update)) error {
	return m.Run(ctx, emit)
}

func (manifests) elect(ctx context.Context, lead func(ctx context.Context)) error {
	lead(ctx)
	return nil
}

// report has nobody to tell: problems are in the log.
func (manifests) report(context.Context) {}

func (w *Watcher) newManifests(options export.Options) (source, error) {
	var uid string
	m, err := manifest.New(manifest.Config{
		Dir: w.config.Source.Manifests.Dir, Keep: filepath.Join(w.config.State, "manifests"), Options: options, Logger: w.log, Registerer: w.metrics,
		Cluster:  func(nodes []*corev1.Node) *discovery.Cluster { return w.record(nodes, uid) },
		Gateways: w.entries,
	})
	if err != nil {
		return nil, w.config.Problem("source.manifests.dir", "%v; create it or name another folder", err)
	}
	// The first start writes it: only now that all else is well.
	s := state{dir: w.config.State}
	if uid, err = s.uid(); err != nil {
		return nil, w.config.Problem("state", "%v", err)
	}
	return manifests{m, s}, nil
}
