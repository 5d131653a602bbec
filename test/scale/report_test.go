package scale

import (
	"fmt"
	"os"
	"testing"
	"text/tabwriter"
	"time"
)

// report is what was measured, beside the bars.
type report struct {
	rows  []row
	notes []string
}

// row is a figure; bar is 0 where there is none.
type row struct {
	what       string
	value, bar float64
	unit       string
}

func (r *report) took(what string, d, bar time.Duration) {
	r.rows = append(r.rows, row{what, d.Seconds(), bar.Seconds(), "s"})
}

func (r *report) takes(what string, octets, bar int64) {
	r.rows = append(r.rows, row{what, float64(octets) / (1 << 20), float64(bar) / (1 << 20), "MiB"})
}

func (r *report) note(format string, args ...any) {
	r.notes = append(r.notes, fmt.Sprintf(format, args...))
}

func (r *report) print() {
	fmt.Println()
	t := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', 0)
	for _, row := range r.rows {
		bar := ""
		if row.bar > 0 {
			bar = fmt.Sprintf("bar %g %s", row.bar, row.unit)
		}
		fmt.Fprintf(t, "%s\t%.2f %s\t%s\n", row.what, row.value, row.unit, bar)
	}
	_ = t.Flush() // as fmt.Println
	for _, n := range r.notes {
		fmt.Println(n)
	}
	fmt.Println("Stubbed: the other clusters are light watchers of one process; see light_test.go.")
}

func (r *report) judge(t testing.TB) {
	for _, row := range r.rows {
		if row.bar > 0 && row.value > row.bar {
			t.Errorf("%s: %.2f %s, bar is %g", row.what, row.value, row.unit, row.bar)
		}
	}
}
