package isthmus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/gossip/replica"
	"github.com/isthmus-dns/isthmus/plugin/isthmus/locality"
)

// Knowledge is what an Explainer goes by. Functions are called on many
// goroutines and must not wait.
type Knowledge struct {
	Table *discovery.Table
	// View is the own cluster with its routing policy: the same pointer until
	// it changes, nil before it is known.
	View func() *replica.View
	// Gateways is what checks found out, the same pointer until it changes; nil
	// as function or as result knows nothing.
	Gateways func() *replica.GatewayStates
	// Heard is when a cluster was last heard of, with a monotonic reading.
	Heard func(cluster string) (at time.Time, ok bool)
}

// Explainer tells which clusters of a service clients are sent to, and why. It
// decides by the code that answers queries, so that what it says is what _why
// says where the same is known.
type Explainer struct {
	known   knowing
	names   *resolver
	outlook *outlook
}

// knowing is Knowledge as the link that queries are answered from.
type knowing struct{ Knowledge }

var _ link = knowing{}

// Table implements link.
func (k knowing) Table() *discovery.Table { return k.Knowledge.Table }

// View implements link.
func (k knowing) View() *View { return k.Knowledge.View() }

// Stale implements link.
func (knowing) Stale() bool { return false }

// Heard implements link.
func (k knowing) Heard(cluster string) (time.Time, bool) { return k.Knowledge.Heard(cluster) }

// Gateways implements link.
func (k knowing) Gateways() *replica.GatewayStates {
	if k.Knowledge.Gateways == nil {
		return nil
	}
	return k.Knowledge.Gateways()
}

// NewExplainer makes an Explainer, which knows who is silent and the addresses
// of gateways' host names only while Run does.
func NewExplainer(k Knowledge, logger *slog.Logger) *Explainer {
	known := knowing{k}
	return &Explainer{known: known, names: newResolver(k.Table, systemLookup, logger), outlook: newOutlook(known, logger)}
}

// Run looks up host names and notices silence until ctx ends.
func (x *Explainer) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { x.outlook.Run(ctx) })
	return x.names.Run(ctx)
}

// Question is what is to be explained.
type Question struct {
	// Name is a service as name.namespace, with or without a zone after it, or
	// an alias.
	Name string
	// From is where the client is: a cluster's name, or REGION[/ZONE[/SUBZONE]].
	// A locality that is one cluster's means that cluster; else the client is
	// in no cluster. Empty is the own cluster.
	From string
	// Client is the client's address, which decides with `affinity: client`.
	Client netip.Addr
	// Without are clusters that are taken to be drained.
	Without []string
}

// Explanation is which clusters clients are sent to, and why.
type Explanation struct {
	Service string   `json:"service"` // name.namespace
	Viewer  Viewer   `json:"viewer"`
	Without []string `json:"without,omitempty"`
	// Affinity tells that a client keeps its cluster.
	Affinity bool `json:"affinity"`
	// Client is what the client of the question is answered; absent without one.
	Client *Client `json:"client,omitempty"`
	// Candidates are those that are answered first.
	Candidates []Explained `json:"candidates"`
}

// Viewer is where a client is.
type Viewer struct {
	Cluster  string `json:"cluster,omitempty"` // none if it is in no cluster
	Network  string `json:"network,omitempty"`
	Locality string `json:"locality,omitempty"`
	// Elsewhere tells that it isn't where gateways were checked from: what is
	// up is taken over, round-trip times are not.
	Elsewhere bool `json:"elsewhere,omitempty"`
}

// Client is what one client is answered.
type Client struct {
	Address netip.Addr `json:"address"`
	// Cluster is the one that it keeps; absent if each answer is drawn anew.
	Cluster string `json:"cluster,omitempty"`
	// ClusterIPv6 is the one that AAAA is answered with if it is another: where
	// clusters have addresses of different families.
	ClusterIPv6 string `json:"clusterIPv6,omitempty"`
}

// Explained is one cluster that has the service.
type Explained struct {
	Cluster  string  `json:"cluster"`
	Locality string  `json:"locality,omitempty"`
	State    string  `json:"state"` // in, standby or out
	Tier     string  `json:"tier"`  // own, subzone, zone, region, latency, failover, other, distribute or out
	Priority int     `json:"priority"`
	Weight   uint64  `json:"weight"`
	Share    float64 `json:"share"` // of the answers, 0 to 1
	Ready    uint32  `json:"ready"`
	Total    uint32  `json:"total"`
	Way      string  `json:"way"`     // service, endpoint, gateway or none
	Gateway  string  `json:"gateway"` // up, down, unknown, or - where the way needs none
	// RTTSeconds is the time to the nearest gateway; absent if not measured.
	RTTSeconds float64 `json:"rttSeconds,omitempty"`
	Heard      string  `json:"heard"` // fresh, silent or frozen
	Age        string  `json:"age"`   // since it was last heard of, or unknown
	Reason     string  `json:"reason"`
	Rule       string  `json:"rule"`
	Why        string  `json:"why"` // as in _why
}

var (
	// ErrUnknownService is wrapped by errors about names that no cluster has.
	ErrUnknownService = errors.New("no cluster exports it")
	// ErrQuestion is what errors are that the asker mends.
	ErrQuestion = errors.New("question can't be understood")
	// ErrNotLoaded is told before there is a table.
	ErrNotLoaded = errors.New("no table yet")
)

// Explain answers a question. Errors are those above.
func (x *Explainer) Explain(ask Question) (*Explanation, error) {
	own := x.known.View()
	if own == nil {
		return nil, ErrNotLoaded
	}
	e := x.find(ask.Name)
	if e == nil {
		return nil, x.unknown(ask.Name)
	}
	records := x.known.Table().Records()
	view, err := viewFrom(ask.From, own, *records)
	if err != nil {
		return nil, err
	}
	f := *x.outlook.facts(own)
	f.gateways, f.standpoint = x.known.Gateways(), &standpoint{view, f.policies}
	from := &viewpoint{link: x.known, names: x.names, outlook: x.outlook, fit: fitnessFor(own, *records)}
	out := &Explanation{
		Service: string(e.Key), Without: ask.Without,
		Viewer: Viewer{view.Cluster, view.Network, view.Locality.String(), view.Cluster != own.Cluster},
	}
	a := from.survey(e, &f, records)
	if out.Viewer.Elsewhere {
		a.forgetTimes()
	}
	if err := a.drain(ask.Without, *records); err != nil {
		return nil, err
	}
	a.decide()
	out.Affinity = a.all.Affine()
	if ask.Client.IsValid() {
		out.Client = &Client{Address: ask.Client}
		if out.Affinity {
			out.Client.Cluster, out.Client.ClusterIPv6 = a.kept(ask.Client)
		}
	}
	for _, i := range a.order() {
		out.Candidates = append(out.Candidates, a.explained(i))
	}
	return out, nil
}

// kept are the clusters that a client keeps with affinity, for A and, if it is
// another, for AAAA.
func (a *answers) kept(client netip.Addr) (cluster, v6 string) {
	name := func(p *locality.Plan) string {
		if i := p.PickFor(locality.ClientHash(client)); i >= 0 {
			return a.candidates[i].Cluster
		}
		return ""
	}
	cluster, v6 = name(a.v4), name(a.v6)
	if cluster == "" || cluster == v6 {
		return v6, ""
	}
	return cluster, v6
}

// explained is one candidate.
func (a *answers) explained(i int) Explained {
	c, v, way := a.candidates[i], a.all.Verdicts[i], &a.ways[i]
	age := age(a.from.link, c.Cluster)
	out := Explained{
		Cluster: c.Cluster, Locality: c.Locality.String(), State: "standby", Tier: v.Tier.String(), Priority: v.Priority,
		Weight: v.Weight, Share: v.Share, Ready: c.Ready, Total: c.Total, Way: c.Reach.String(), Gateway: gatewayState(c, way),
		RTTSeconds: c.RTT.Seconds(), Heard: c.Freshness.String(), Age: age,
		Reason: v.Reason.Label(), Rule: v.Rule(), Why: whyLine(c, v, way, age),
	}
	switch {
	case v.In:
		out.State = "in"
	case v.Tier == locality.TierOut:
		out.State = "out"
	}
	return out
}

// forgetTimes drops round-trip times, which hold for another place.
func (a *answers) forgetTimes() {
	for i := range a.candidates {
		a.candidates[i].RTT, a.candidates[i].Band = 0, locality.NoBand
	}
}

// drain takes clusters out.
func (a *answers) drain(clusters []string, records []*discovery.Cluster) error {
	for _, name := range clusters {
		i := a.index(name)
		if i >= 0 {
			a.candidates[i].Drained = true
		} else if clusterRecord(records, name).UID == "" {
			return unknownCluster(name, records)
		}
	}
	return nil
}

// viewFrom is the place that a question names.
func viewFrom(text string, own *View, records []*discovery.Cluster) (*View, error) {
	if text == "" || text == own.Cluster {
		return own, nil
	}
	var there []*discovery.Cluster
	where, err := discovery.ParseLocality(text)
	for _, c := range records {
		if c.Name == text {
			return &View{Cluster: c.Name, Network: c.Network, Locality: c.Locality}, nil
		}
		if err == nil && c.Locality == where {
			there = append(there, c)
		}
	}
	switch {
	case err != nil:
		return nil, questionError(fmt.Sprintf("from %.255q: want a cluster or REGION[/ZONE[/SUBZONE]]: %v", text, err))
	case len(there) == 1 && there[0].Name == own.Cluster:
		return own, nil
	case len(there) == 1:
		return &View{Cluster: there[0].Name, Network: there[0].Network, Locality: where}, nil
	}
	return &View{Locality: where}, nil
}
