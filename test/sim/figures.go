package sim

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
)

// WritePlots draws results into a folder: how soon changes were everywhere, one
// picture for each number of clusters, and what that cost.
func WritePlots(folder string, results []*Result) error {
	byClusters := map[int][]*Result{}
	for _, r := range results {
		byClusters[r.Clusters] = append(byClusters[r.Clusters], r)
	}
	for _, n := range slices.Sorted(maps.Keys(byClusters)) {
		if err := plotConvergence(filepath.Join(folder, fmt.Sprintf("convergence-%d.svg", n)), byClusters[n]); err != nil {
			return err
		}
	}
	return plotOctets(filepath.Join(folder, "octets.svg"), results)
}

// plotConvergence draws which share of the changes all watchers showed after a
// time.
func plotConvergence(path string, results []*Result) error {
	p := newPlot(fmt.Sprintf("%d clusters × %d watchers: a change is shown by all", results[0].Clusters, watchersPerCluster))
	x := axis{min: 0.1, max: 60, from: left, to: plotWidth - right}
	y := axis{min: 1, max: 1000, from: top, to: plotHeight - bottom} // of what is still missing, per mille, from the top
	for _, v := range x.ticks() {
		p.vertical(x.at(v), fmt.Sprintf("%g s", v))
	}
	for _, v := range []float64{1, 10, 100, 500} {
		p.horizontal(y.at(v), fmt.Sprintf("%g %%", 100-v/10))
	}
	for _, r := range results {
		var xy [][2]float64
		for i, d := range r.Last {
			missing := 1000 * float64(r.Changes-i-1) / float64(r.Changes)
			xy = append(xy, [2]float64{x.at(seconds(d)), y.at(max(missing, 1))})
		}
		p.line(fmt.Sprintf("%g %% loss", 100*r.Link.Loss), xy)
	}
	p.axes("time since the change", "share of changes")
	return p.save(path)
}

// plotOctets draws what a watcher sends, by the number of clusters.
func plotOctets(path string, results []*Result) error {
	p := newPlot("sent by a watcher, headers included, 1 % of services changing a minute")
	x := axis{min: 2, max: 500, from: left, to: plotWidth - right}
	y := axis{min: 100, max: 1e6, from: plotHeight - bottom, to: top}
	byLoss := map[float64][][2]float64{}
	clusters := map[int]bool{}
	for _, r := range results {
		clusters[r.Clusters] = true
		sent := r.perWatcher(r.Sent.Sum.Estimate())
		byLoss[r.Link.Loss] = append(byLoss[r.Link.Loss], [2]float64{x.at(float64(r.Clusters)), y.at(sent)})
	}
	for n := range clusters {
		p.vertical(x.at(float64(n)), fmt.Sprint(n))
	}
	for v := y.min; v <= y.max; v *= 10 {
		p.horizontal(y.at(v), fmt.Sprintf("%g kB/s", v/1000))
	}
	p.bar(y.at(barOctets), "30 kB/s, the bar at 100 clusters")
	for _, loss := range slices.Sorted(maps.Keys(byLoss)) {
		p.line(fmt.Sprintf("%g %% loss", 100*loss), byLoss[loss])
	}
	p.axes("clusters", "octets a second")
	return p.save(path)
}
