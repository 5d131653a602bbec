package clusters

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"github.com/isthmus-dns/isthmus/test/clusters/heard"
)

// asker is a Pod that asks for all names all the time.
type asker struct {
	cluster   *cluster
	pod, node string
}

// askers are those of all clusters but for the nodes that are left out.
func (f *fleet) askers(ctx context.Context, without ...string) ([]asker, error) {
	var all []asker
	for _, c := range f.clusters {
		pods, err := c.pods(ctx, "demo", "app=ask")
		if err != nil {
			return nil, err
		}
		for _, pod := range pods {
			if pod.Status.Phase == corev1.PodRunning && !slices.Contains(without, pod.Spec.NodeName) {
				all = append(all, asker{c, pod.Name, pod.Spec.NodeName})
			}
		}
	}
	if len(all) == 0 {
		return nil, errors.New("no Pod asks")
	}
	return all, nil
}

// heard is what it heard since a time, in the order in which it asked, and until
// when that is all.
func (a asker) heard(ctx context.Context, since time.Time) (runs []heard.Run, until time.Time, err error) {
	text, err := a.cluster.log(ctx, "demo", a.pod, since)
	if err != nil {
		return nil, until, err
	}
	for line := range bytes.Lines(text) {
		var run heard.Run
		if err := json.Unmarshal(line, &run); err != nil {
			return nil, until, fmt.Errorf("log of %s on %s: %w: %s", a.pod, a.node, err, line)
		}
		if run.Via == heard.Until {
			until = run.To
		} else if !run.From.Before(since) {
			runs = append(runs, run)
		}
	}
	slices.SortStableFunc(runs, func(a, b heard.Run) int { return a.From.Compare(b.From) })
	return runs, until, nil
}

// settled waits until every asker hears what is right from both servers, for
// every name, and returns how long after since the last of them began to.
func (f *fleet) settled(t testing.TB, since time.Time, without ...string) time.Duration {
	t.Helper()
	right := map[*cluster]map[string]string{}
	for _, c := range f.clusters {
		right[c] = f.right(t, c)
	}
	var last time.Time
	await(t, patience, func() error {
		all, err := f.askers(t.Context(), without...)
		if err != nil {
			return err
		}
		last = since
		for _, a := range all {
			at, err := a.settled(t.Context(), since, right[a.cluster])
			if err != nil {
				return err
			}
			last = latest(last, at)
		}
		return nil
	})
	return last.Sub(since)
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// settled is when the asker last began to hear what is right. What it hears
// must be a second old, so that something was heard since.
func (a asker) settled(ctx context.Context, since time.Time, right map[string]string) (time.Time, error) {
	runs, _, err := a.heard(ctx, since)
	if err != nil {
		return time.Time{}, err
	}
	at := since
	for name, want := range right {
		for _, via := range []string{heard.Resolver, heard.Agent} {
			var begun time.Time
			got := "nothing"
			for _, run := range runs {
				if run.Name != name || run.Via != via {
					continue
				}
				if run.Answer != want {
					begun = time.Time{}
				} else if begun.IsZero() {
					begun = run.From
				}
				got = run.Answer
			}
			if begun.IsZero() {
				return at, fmt.Errorf("%s on %s hears %s of %s from the %s, not %s", a.pod, a.node, got, name, via, want)
			}
			at = latest(at, begun)
		}
	}
	return at, nil
}

// tally counts what askers heard in a time.
type tally struct {
	queries, wrong, lost int
	slow                 int // came after more than a second
	examples             []string
}

// wants are the right answers to names, in their order: what comes after a
// later one is wrong.
type wants map[string][]string

// anytime are answers in a cluster that are right in any order.
type anytime map[*cluster]map[string][]string

func (a anytime) add(c *cluster, name string, answers ...string) {
	if a[c] == nil {
		a[c] = map[string][]string{}
	}
	a[c][name] = append(a[c][name], answers...)
}

// judge waits until all askers have told of the time until end, and counts.
// Lost answers of nodes that are losing are left out.
func (f *fleet) judge(t testing.TB, all []asker, begin, end time.Time, want map[*cluster]wants, also anytime, losing []string) (sum tally) {
	t.Helper()
	for _, a := range all {
		var runs []heard.Run
		await(t, patience, func() error {
			var until time.Time
			var err error
			runs, until, err = a.heard(t.Context(), begin)
			if err == nil && until.Before(end) {
				err = fmt.Errorf("%s on %s has not told yet", a.pod, a.node)
			}
			return err
		})
		requireAsking(t, a, runs, begin)
		if slices.Contains(losing, a.node) {
			runs = slices.DeleteFunc(runs, func(r heard.Run) bool { return strings.HasPrefix(r.Answer, heard.Lost) })
		}
		sum.add(a, runs, end, want[a.cluster], also[a.cluster])
	}
	return sum
}

// requireAsking requires that the asker never paused: what nobody asked for
// can't be wrong.
func requireAsking(t testing.TB, a asker, runs []heard.Run, begin time.Time) {
	t.Helper()
	const pause = 10 * time.Second // a busy machine's
	until := begin
	for _, run := range runs {
		require.Less(t, run.From.Sub(until), pause, "%s on %s asked nothing after %v", a.pod, a.node, until)
		until = latest(until, run.To)
	}
}

func (s *tally) add(a asker, runs []heard.Run, end time.Time, want wants, also map[string][]string) {
	seen := map[string]int{}
	for _, run := range runs {
		if run.From.After(end) {
			return
		}
		s.queries += run.Count
		if !strings.HasPrefix(run.Answer, heard.Lost) {
			s.slow += run.Slow
		}
		key := run.Via + run.Name
		at := slices.Index(want[run.Name][seen[key]:], run.Answer)
		switch {
		case strings.HasPrefix(run.Answer, heard.Lost):
			s.lost += run.Count
		case slices.Contains(also[run.Name], run.Answer):
			continue
		case at < 0:
			s.wrong += run.Count
		default:
			seen[key] += at
			continue
		}
		if len(s.examples) < 20 {
			s.examples = append(s.examples, fmt.Sprintf("%s %s: %d × %s of %s, by the %s", run.From.Format("15:04:05.000"), a.node, run.Count, run.Answer, run.Name, run.Via))
		}
	}
}
