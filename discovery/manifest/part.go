package manifest

import (
	"crypto/sha256"
	"encoding/json"
	"log/slog"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/discovery/export"
)

// part remembers what was emitted, so that an unchanged record is not emitted
// again. It keeps fingerprints: the records belong to the receiver.
type part struct {
	cluster func(nodes []*corev1.Node) *discovery.Cluster
	// gateways are the entries of the gateway sets; nil leaves those of cluster.
	gateways func() []export.SetEntry
	options  export.Options
	log      *slog.Logger

	emitted        map[discovery.Key]fingerprint
	emittedCluster fingerprint
	notes          map[discovery.Key]string // what was logged of a Service last
	setNote        string                   // what was logged of gateway sets last
}

type fingerprint [sha256.Size]byte

// fingerprintOf hashes the JSON form: field order is fixed and all fields of
// the model are exported.
func fingerprintOf(v any) fingerprint {
	data, err := json.Marshal(v)
	if err != nil { // no field of the model can fail
		return fingerprint{}
	}
	return sha256.Sum256(data)
}

// update builds what changed since the last one; false when nothing did.
func (p *part) update(inv *inventory, whole bool) (discovery.Update, bool) {
	keys, nodes := inv.takeDirty()
	out := discovery.Update{Whole: whole}
	if nodes || whole || p.refers(keys) {
		p.record(inv, &out, whole)
	}
	for _, key := range keys {
		p.service(inv, key, &out)
	}
	return out, whole || out.Cluster != nil || len(out.Services)+len(out.Removed) > 0
}

// record adds the cluster's own record if it changed, or always.
func (p *part) record(inv *inventory, out *discovery.Update, always bool) {
	c := p.cluster(inv.nodes())
	if c == nil {
		return
	}
	if p.gateways != nil {
		c.GatewaySets = p.sets(inv)
	}
	if print := fingerprintOf(c); print != p.emittedCluster || always {
		p.emittedCluster = print
		out.Cluster = c
	}
}

// refers tells whether a gateway set takes addresses from one of the Services.
func (p *part) refers(keys []discovery.Key) bool {
	if p.gateways == nil {
		return false
	}
	return slices.ContainsFunc(p.gateways(), func(e export.SetEntry) bool {
		_, found := slices.BinarySearch(keys, discovery.MakeKey(e.Object.Namespace, e.Object.Name))
		return found && e.From == export.FromService
	})
}

// sets are what the entries of the gateway sets come to.
func (p *part) sets(inv *inventory) []discovery.GatewaySet {
	in := export.SetInput{Service: func(at export.Object) (*corev1.Service, []*discoveryv1.EndpointSlice) {
		key := discovery.MakeKey(at.Namespace, at.Name)
		return inv.service(key), inv.slicesOf(key)
	}}
	in.Nodes, in.Opts = inv.node, p.options
	sets, problems := export.GatewaySets(p.gateways(), in)
	if text := strings.Join(problems, "; "); text != p.setNote {
		p.setNote = text
		if text != "" {
			p.log.Warn("gateway set has a problem", "problem", text)
		}
	}
	return sets
}

func (p *part) service(inv *inventory, key discovery.Key, out *discovery.Update) {
	result := export.Build(export.Input{
		Service: inv.service(key),
		Slices:  inv.slicesOf(key),
		Export:  inv.export(key),
		Nodes:   inv.node,
		Opts:    p.options,
	})
	if result.Reason == export.ReasonNoService && inv.export(key) != nil {
		result.Problems = append(result.Problems, "a ServiceExport names it, but there is no such Service")
	}
	p.note(key, result)
	before, was := p.emitted[key]
	if result.Service == nil {
		if was {
			delete(p.emitted, key)
			out.Removed = append(out.Removed, key)
		}
		return
	}
	if now := fingerprintOf([]any{result.Service, result.Check, result.Awaits}); !was || now != before {
		p.emitted[key] = now
		out.Add(result.Service, result.Check)
		if !result.Awaits {
			out.Mean(key)
		}
	}
}

// note logs what the user should know of a Service, once per change of it.
func (p *part) note(key discovery.Key, result export.Result) {
	problems := result.Problems
	if result.Service == nil && !export.Intended(result.Reason) {
		problems = append(slices.Clone(problems), "not exported: "+result.Reason)
	}
	text := strings.Join(problems, "; ")
	if p.notes[key] == text {
		return
	}
	namespace, name := key.Split()
	if text == "" {
		delete(p.notes, key)
		p.log.Info("service has no problems any more", "namespace", namespace, "service", name)
		return
	}
	p.notes[key] = text
	p.log.Warn("service has problems", "namespace", namespace, "service", name, "problems", text)
}
