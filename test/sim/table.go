package sim

import (
	"fmt"
	"io"
	"time"
)

// WriteTable prints results as a table in Markdown.
func WriteTable(w io.Writer, results []*Result) {
	fmt.Fprintln(w, "| clusters | services | loss | changes | pair p50 | pair p99 | pair max | last p50 | last p99 | last max | never | sent B/s | max | received B/s | est. sent B/s | members | news | push/pull | pulls | start | start KB sent |")
	fmt.Fprintln(w, "|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
	for _, r := range results {
		r.writeRow(w)
	}
}

func (r *Result) writeRow(w io.Writer) {
	n := int64(r.Sent.Watchers)
	perSecond := func(octets, watchers int64) int64 {
		return int64(float64(octets) / float64(watchers) / r.During.Seconds())
	}
	fmt.Fprintf(w, "| %d | %d | %.0f %% | %d |", r.Clusters, r.Services, 100*r.Link.Loss, r.Changes)
	for _, sorted := range [][]time.Duration{r.Pairs, r.Last} {
		for _, q := range []float64{0.5, 0.99, 1} {
			fmt.Fprintf(w, " %.2f s |", Quantile(sorted, q).Seconds())
		}
	}
	fmt.Fprintf(w, " %d | %d | %d | %d | %d |", r.Never,
		perSecond(r.Sent.Sum.Total(), n), perSecond(r.Sent.Max.Total(), 1),
		perSecond(r.Received.Sum.Total(), n), perSecond(r.Sent.Sum.Estimate(), n))
	for _, octets := range r.Sent.Sum.Payload {
		fmt.Fprintf(w, " %d |", perSecond(octets, n))
	}
	fmt.Fprintf(w, " %.1f s | %d |\n", r.Start.Seconds(), r.StartCost.Sum.Total()/n/1000)
}
