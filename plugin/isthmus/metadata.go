package isthmus

import (
	"context"
	"strconv"

	coremetadata "github.com/coredns/coredns/plugin/metadata"
	"github.com/coredns/coredns/request"

	"github.com/isthmus-dns/isthmus/plugin/isthmus/locality"
)

var _ coremetadata.Provider = (*Isthmus)(nil)

// outcome is what a query came to, for plugins that show it: log, dnstap's
// extra field, template. All that it names is immutable.
type outcome struct {
	zone   *zone // nil until a query of ours ended
	found  *answers
	chosen int // of found's candidates; -1 for none in particular
	result result
	stale  bool
}

// outcomeKey is where a context keeps its *outcome.
type outcomeKey struct{}

// Metadata implements metadata.Provider. CoreDNS calls it before any plugin,
// when rewrite may still make the name one of ours; so it only leaves a place
// for what ServeDNS will find out.
func (*Isthmus) Metadata(ctx context.Context, _ request.Request) context.Context {
	o := &outcome{}
	coremetadata.SetValueFunc(ctx, pluginName+"/zone", o.zoneName)
	coremetadata.SetValueFunc(ctx, pluginName+"/service", o.service)
	coremetadata.SetValueFunc(ctx, pluginName+"/cluster", o.cluster)
	coremetadata.SetValueFunc(ctx, pluginName+"/tier", o.tier)
	coremetadata.SetValueFunc(ctx, pluginName+"/result", o.resultName)
	coremetadata.SetValueFunc(ctx, pluginName+"/stale", o.isStale)
	return context.WithValue(ctx, outcomeKey{}, o)
}

// tell leaves what a query came to where Metadata has made a place.
func (q *query) tell(ctx context.Context, res result) {
	if o, ok := ctx.Value(outcomeKey{}).(*outcome); ok {
		*o = outcome{zone: q.zone, found: q.found, chosen: q.chosen, result: res, stale: q.stale || q.view.link.Stale()}
	}
}

func (o *outcome) zoneName() string {
	if o.zone == nil {
		return ""
	}
	return o.zone.origin
}

func (o *outcome) service() string {
	if o.found == nil {
		return ""
	}
	return string(o.found.entry.Key)
}

// cluster is the one that was answered or asked for; an SRV answer that names
// several has none.
func (o *outcome) cluster() string {
	if o.found == nil || o.chosen < 0 {
		return ""
	}
	return o.found.entry.Candidates[o.chosen].Cluster
}

func (o *outcome) tier() string {
	if o.found == nil || o.chosen < 0 || o.found.ways[o.chosen].tier == locality.TierOut {
		return ""
	}
	return o.found.ways[o.chosen].tier.String()
}

func (o *outcome) resultName() string {
	if o.zone == nil {
		return ""
	}
	return resultNames[o.result]
}

func (o *outcome) isStale() string {
	if o.zone == nil {
		return ""
	}
	return strconv.FormatBool(o.stale)
}
