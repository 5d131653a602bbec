package sim

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// column is one column of the table.
type column struct {
	title string
	cell  func(r *Result) string
}

var columns = []column{
	{"clusters", func(r *Result) string { return fmt.Sprint(r.Clusters) }},
	{"services", func(r *Result) string { return fmt.Sprint(r.Services) }},
	{"loss", func(r *Result) string { return fmt.Sprintf("%g %%", 100*r.Link.Loss) }},
	{"changes", func(r *Result) string { return fmt.Sprint(r.Changes) }},
	{"a watcher p50", func(r *Result) string { return quantile(r.Pairs, 0.5) }},
	{"p99", func(r *Result) string { return quantile(r.Pairs, 0.99) }},
	{"max", func(r *Result) string { return quantile(r.Pairs, 1) }},
	{"the last p50", func(r *Result) string { return quantile(r.Last, 0.5) }},
	{"p99", func(r *Result) string { return quantile(r.Last, 0.99) }},
	{"max", func(r *Result) string { return quantile(r.Last, 1) }},
	{"never", func(r *Result) string { return fmt.Sprint(r.Never) }},
	{"sent kB/s", func(r *Result) string { return kilo(r.perWatcher(r.Sent.Sum.Total())) }},
	{"most", func(r *Result) string { return kilo(r.perSecond(r.Sent.Max.Total())) }},
	{"received", func(r *Result) string { return kilo(r.perWatcher(r.Received.Sum.Total())) }},
	{"sent, headers too", func(r *Result) string { return kilo(r.perWatcher(r.Sent.Sum.Estimate())) }},
	{"of that members", func(r *Result) string { return kilo(r.perWatcher(r.Sent.Sum.Payload[Members])) }},
	{"news", func(r *Result) string { return kilo(r.perWatcher(r.Sent.Sum.Payload[News])) }},
	{"push/pull", func(r *Result) string { return kilo(r.perWatcher(r.Sent.Sum.Payload[PushPull])) }},
	{"pulls", func(r *Result) string { return kilo(r.perWatcher(r.Sent.Sum.Payload[Pulls])) }},
	{"start", func(r *Result) string { return fmt.Sprintf("%.1f s", r.Start.Seconds()) }},
	{"start kB", func(r *Result) string {
		return fmt.Sprintf("%.0f", float64(r.StartCost.Sum.Total())/float64(r.Sent.Watchers)/1000)
	}},
	{"bars", func(r *Result) string { return strings.Join(r.Missed(), ", ") }},
}

// WriteTable prints results as a table in Markdown.
func WriteTable(w io.Writer, results []*Result) {
	fmt.Fprint(w, "|")
	for _, c := range columns {
		fmt.Fprintf(w, " %s |", c.title)
	}
	fmt.Fprintln(w, "\n|"+strings.Repeat("---:|", len(columns)))
	for _, r := range results {
		fmt.Fprint(w, "|")
		for _, c := range columns {
			fmt.Fprintf(w, " %s |", c.cell(r))
		}
		fmt.Fprintln(w)
	}
}

func quantile(sorted []time.Duration, q float64) string {
	return fmt.Sprintf("%.2f s", Quantile(sorted, q).Seconds())
}

func kilo(octets float64) string { return fmt.Sprintf("%.1f", octets/1000) }

func (r *Result) perSecond(octets int64) float64 { return float64(octets) / r.During.Seconds() }

func (r *Result) perWatcher(octets int64) float64 {
	return r.perSecond(octets) / float64(r.Sent.Watchers)
}
