package kube

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/cache"
)

// kind is a kind of object that a cluster may have or not: it may come later,
// go, or change its versions, and the watcher may not have the right to see it.
type kind struct {
	group, resource string
	versions        []string // in the order of preference
	// declares tells that its objects say what is exported: without the right
	// to list them nothing is published, as what they declare would be taken
	// away everywhere. Others only say how something is reached.
	declares bool
	trim     cache.TransformFunc
	indexers cache.Indexers
	// changed names what must be looked at because of an object.
	changed func(obj any)
}

func (k *kind) String() string { return k.resource + "." + k.group }

// optionalRetry is how soon to ask again while it is not known whether a kind
// is there: nothing is published before.
const optionalRetry = time.Second

// optionalSync is how long a round waits for the first list of a version before
// it looks at the versions again: the kind may have gone meanwhile.
const optionalSync = 10 * time.Second

// optionalPatience is how long the first update waits for kinds that the API
// server answers with errors for another reason than a missing right, a broken
// conversion of a CRD for example: what they tell is missed, which is better
// than to publish nothing. Those that are still being listed are waited for
// without end, since records without the gateways that they tell of would take
// addresses away everywhere; and so are those that declare exports.
const optionalPatience = 30 * time.Second

// optionals look again and again which of the kinds the API server has, and
// follow those.
type optionals struct {
	source    *Source
	followers []*follower
	known     chan struct{} // closed when all of them are read, or known not to be there
}

func (s *Source) optionals(kinds ...*kind) *optionals {
	o := &optionals{source: s, known: make(chan struct{})}
	for _, k := range kinds {
		o.followers = append(o.followers, &follower{source: s, kind: k})
	}
	return o
}

// run looks for the kinds until ctx ends.
func (o *optionals) run(ctx context.Context) {
	defer func() {
		for _, f := range o.followers {
			f.end()
		}
	}()
	settled := sync.OnceFunc(func() { close(o.known) })
	started, lost := false, false
	var since time.Time // when the API server first answered
	for wait := time.Duration(0); pause(ctx, wait); {
		wait = o.source.cfg.DiscoverEvery
		if !started {
			wait = optionalRetry
		}
		served, err := o.served(ctx)
		if err != nil {
			if !lost && ctx.Err() == nil { // once an outage
				o.source.log.Warn("kinds of the API server unknown", slog.Any("error", err))
			}
			lost = true
			continue
		}
		lost = false
		if since.IsZero() {
			since = time.Now()
		}
		all, rest := o.follow(ctx, served)
		if !started && (all || rest && time.Since(since) >= optionalPatience) {
			settled()
			started, wait = true, o.source.cfg.DiscoverEvery
		}
	}
}

// follow brings all followers to the versions that are served, side by side:
// the list of one may take long. It tells whether all are there, and whether the
// rest can be gone on without.
func (o *optionals) follow(ctx context.Context, served map[*kind]string) (all, rest bool) {
	known := make([]bool, len(o.followers))
	var wg sync.WaitGroup
	for i, f := range o.followers {
		wg.Go(func() {
			known[i] = f.turnTo(ctx, served[f.kind])
			f.blind.Store(!known[i] || f.forbidden)
		})
	}
	wg.Wait()
	all, rest = true, true
	for i, f := range o.followers {
		all = all && known[i]
		rest = rest && (known[i] || !f.kind.declares && f.hopeless())
	}
	return all, rest
}

// complete tells that all there is of the kinds is seen: what is not in the
// stores is not there.
func (o *optionals) complete() bool {
	return !slices.ContainsFunc(o.followers, func(f *follower) bool { return f.blind.Load() })
}

// served are the preferred versions of the kinds that the API server has. It
// asks once for each group and version.
func (o *optionals) served(ctx context.Context) (map[*kind]string, error) {
	asked := map[schema.GroupVersion]*metav1.APIResourceList{}
	out := map[*kind]string{}
	for _, f := range o.followers {
		version, err := o.source.servedVersion(ctx, f.kind, asked)
		if err != nil {
			return nil, err
		}
		out[f.kind] = version
	}
	return out, nil
}

// servedVersion is the preferred version of a kind that the API server serves,
// "" if none. What was asked before is in asked, which may be nil.
func (s *Source) servedVersion(ctx context.Context, k *kind, asked map[schema.GroupVersion]*metav1.APIResourceList) (string, error) {
	for _, version := range k.versions {
		gv := schema.GroupVersion{Group: k.group, Version: version}
		list, known := asked[gv]
		if !known {
			var err error
			list, err = s.cfg.Client.Discovery().ServerResourcesForGroupVersionWithContext(ctx, gv.String())
			if err != nil && !apierrors.IsNotFound(err) {
				return "", fmt.Errorf("resources of %s: %w", gv, err)
			}
			if asked != nil {
				asked[gv] = list
			}
		}
		if list != nil && slices.ContainsFunc(list.APIResources, func(r metav1.APIResource) bool { return r.Name == k.resource }) {
			return version, nil
		}
	}
	return "", nil
}
