package watch

import (
	"time"

	"github.com/isthmus-dns/isthmus/cmd/isthmus/internal/api"
	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/discovery/probe"
	"github.com/isthmus-dns/isthmus/gossip/replica"
	"github.com/isthmus-dns/isthmus/plugin/isthmus"
)

// shown is the watcher as its HTTP server sees it.
type shown struct{ *Watcher }

var _ api.State = shown{}

// Table implements api.State.
func (s shown) Table() *discovery.Table { return s.table }

// Leading implements api.State.
func (s shown) Leading() bool { return s.leading.now.Load() }

// Ready implements api.State.
func (s shown) Ready() bool { return s.replica.Ready() }

// Heard implements api.State.
func (s shown) Heard(cluster string) (time.Time, bool) { return s.replica.Heard(cluster) }

// Explain implements api.State.
func (s shown) Explain(q isthmus.Question) (*isthmus.Explanation, error) {
	return s.explainer.Explain(q)
}

// Checks implements api.State.
func (s shown) Checks() *probe.Snapshot { return s.gateways.prober.Snapshot() }

// Overlaps implements api.State.
func (s shown) Overlaps() *discovery.Overlaps { return s.overlaps.now.Load() }

// Members implements api.State.
func (s shown) Members() []api.Member {
	members := []api.Member{}
	for _, m := range s.pool.Members() {
		members = append(members, api.Member{Name: m.Name, Cluster: m.Cluster, Address: m.Addr, Self: m.Self})
	}
	return members
}

// newExplainer makes what tells where clients are sent, by what this watcher
// knows.
func (w *Watcher) newExplainer() *isthmus.Explainer {
	return isthmus.NewExplainer(isthmus.Knowledge{
		Table: w.table, View: w.replica.View, Heard: w.replica.Heard,
		Gateways: func() *replica.GatewayStates {
			states, _ := w.replica.Gateways()
			return states
		},
	}, w.log)
}

// Config implements api.State.
func (s shown) Config() api.Config {
	c, last := s.live.Load(), s.reloads.last()
	return api.Config{
		Loaded: last.at, Errors: last.wrong, Restart: last.fields, Routing: briefRouting(c.Routing), Health: briefHealth(c.Health),
	}
}

// newAPI makes the HTTP server of a watcher that is put together.
func (w *Watcher) newAPI(version, member string) *api.Server {
	about := api.About{
		Version: version, Clusterset: w.config.Clusterset, Cluster: w.config.Cluster,
		Watcher: member, Started: time.Now().UTC(),
	}
	return api.New(about, shown{w}, w.metrics, w.log)
}
