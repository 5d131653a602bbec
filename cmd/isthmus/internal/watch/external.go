package watch

import (
	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/discovery/external"
	"github.com/isthmus-dns/isthmus/discovery/probe"
)

// newExternal makes what stands between the source and the publisher, and
// checks endpoints that nobody else does.
func (w *Watcher) newExternal(o Options) (*external.Checker, error) {
	return external.New(external.Config{
		Cluster: w.config.Cluster, Emit: w.publisher.Update, Published: w.published, AllowLoopback: o.AllowLoopback,
		Probe: probe.Config{
			Policy: probe.Policy{Health: w.config.Health, Damping: o.damping}, Logger: w.log, Registerer: w.metrics,
		},
	})
}

// published is what our cluster published last of a service.
func (w *Watcher) published(key discovery.Key) *discovery.Service {
	if entry := w.table.Lookup(key); entry != nil {
		return entry.Candidate(w.config.Cluster)
	}
	return nil
}
