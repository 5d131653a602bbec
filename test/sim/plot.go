package sim

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"time"
)

// Size of a plot in pixels, and of the margin that holds its labels.
const (
	plotWidth, plotHeight = 760, 440
	left, right           = 70, 190
	top, bottom           = 40, 50
)

// colors tell lines apart, also for those who see red and green alike (Okabe
// and Ito).
var colors = []string{"#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#999999", "#000000"}

// axis maps values to pixels, on a logarithmic scale.
type axis struct {
	min, max float64
	from, to float64 // pixels
}

func (a axis) at(v float64) float64 {
	v = math.Min(math.Max(v, a.min), a.max)
	return a.from + (a.to-a.from)*math.Log(v/a.min)/math.Log(a.max/a.min)
}

// ticks are 1, 2 and 5 times the powers of ten within.
func (a axis) ticks() []float64 {
	var out []float64
	for p := math.Pow(10, math.Floor(math.Log10(a.min))); p <= a.max; p *= 10 {
		for _, m := range []float64{1, 2, 5} {
			if v := p * m; v >= a.min && v <= a.max {
				out = append(out, v)
			}
		}
	}
	return out
}

// plot is a picture that is being drawn.
type plot struct {
	bytes.Buffer
	lines int
}

func newPlot(title string) *plot {
	p := &plot{}
	fmt.Fprintf(p, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12">`+"\n", plotWidth, plotHeight)
	fmt.Fprintf(p, `<rect width="100%%" height="100%%" fill="white"/><text x="%d" y="24" font-size="15">%s</text>`+"\n", left, title)
	return p
}

func (p *plot) vertical(x float64, label string) {
	fmt.Fprintf(p, `<path d="M%.1f %dV%d" stroke="#ddd"/><text x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n", x, top, plotHeight-bottom, x, plotHeight-bottom+18, label)
}

func (p *plot) horizontal(y float64, label string) {
	fmt.Fprintf(p, `<path d="M%d %.1fH%d" stroke="#ddd"/><text x="%d" y="%.1f" text-anchor="end">%s</text>`+"\n", left, y, plotWidth-right, left-6, y+4, label)
}

func (p *plot) axes(x, y string) {
	fmt.Fprintf(p, `<text x="%d" y="%d" text-anchor="middle">%s</text>`+"\n", (left+plotWidth-right)/2, plotHeight-10, x)
	fmt.Fprintf(p, `<text transform="translate(16,%d) rotate(-90)" text-anchor="middle">%s</text>`+"\n", (top+plotHeight-bottom)/2, y)
}

// bar is a dashed line that is not to be crossed.
func (p *plot) bar(y float64, label string) {
	fmt.Fprintf(p, `<path d="M%d %.1fH%d" stroke="#c00" stroke-dasharray="6 4"/><text x="%d" y="%.1f" fill="#c00">%s</text>`+"\n", left, y, plotWidth-right, left+6, y-5, label)
}

// line draws points and names them at the right.
func (p *plot) line(label string, xy [][2]float64) {
	color := colors[p.lines%len(colors)]
	dash := ""
	if p.lines >= len(colors) {
		dash = ` stroke-dasharray="3 2"`
	}
	fmt.Fprintf(p, `<polyline fill="none" stroke="%s" stroke-width="2"%s points="`, color, dash)
	for _, v := range xy {
		fmt.Fprintf(p, "%.1f,%.1f ", v[0], v[1])
	}
	y := top + 10 + 20*p.lines
	fmt.Fprintf(p, `"/>`+"\n"+`<path d="M%d %dh22" stroke="%s" stroke-width="2"%s/><text x="%d" y="%d">%s</text>`+"\n",
		plotWidth-right+12, y-4, color, dash, plotWidth-right+40, y, label)
	p.lines++
}

func (p *plot) save(path string) error {
	fmt.Fprintln(p, "</svg>")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, p.Bytes(), 0o644)
}

func seconds(d time.Duration) float64 { return d.Seconds() }
