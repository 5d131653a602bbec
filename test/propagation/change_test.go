package propagation

import (
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/isthmus-dns/isthmus/test/cluster"
)

// kind is what is changed.
type kind int

const (
	scaledToZero kind = iota
	scaledFromZero
	created
	deleted
	rescaled // one ready endpoint more or less: only weights change
	kinds
)

func (k kind) String() string {
	return [...]string{"ready endpoints to none", "ready endpoints from none", "new service", "deleted service", "one endpoint more"}[k]
}

// change is one that is made to a service in east and looked for in west.
type change struct {
	kind    kind
	service cluster.Service
	query   cluster.Query
	want    string // part of the answer's text that was not in it before
}

// life is the order in which the kinds follow one another.
var life = [kinds]kind{created, rescaled, scaledToZero, scaledFromZero, deleted}

// lookEvery is the pause between two looks at west's answer. Each look takes a
// tenth of a millisecond of both processes' time.
const lookEvery = 500 * time.Microsecond

// lost is when a change is given up: the benchmark fails.
const lost = 20 * time.Second

// track is a service of east that goes through its life, and another one after
// it.
type track struct {
	name  string // of the track
	count int    // changes so far
}

// next is the track's next change. What west shall say then it does not say
// before.
func (t *track) next(east *cluster.Cluster) change {
	c := change{kind: life[t.count%len(life)]}
	c.service = cluster.Service{Namespace: "bench", Name: fmt.Sprintf("%s-%d", t.name, t.count/len(life)), Ready: 2}
	t.count++
	name := c.service.Name + ".bench.global."
	c.query = cluster.Query{Name: name, Type: "A"}
	switch c.kind {
	case created:
		c.want = east.Gateway
	case rescaled:
		c.service.Ready = 3
		c.query, c.want = cluster.Query{Name: "_why." + name, Type: "TXT"}, "ready=3/3"
	case scaledToZero:
		c.service.Ready, c.service.NotReady = 0, 3
		c.want = "NODATA"
	case scaledFromZero:
		c.service.Ready = 3
		c.want = east.Gateway
	case deleted:
		c.want = "NXDOMAIN"
	}
	return c
}

// measure makes the change and says how long it took until west showed it.
func (c change) measure(west, east *cluster.Cluster) (time.Duration, error) {
	conn, err := dns.DialTimeout("udp", west.DNS, time.Second)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	before, err := cluster.Exchange(conn, c.query)
	if err != nil {
		return 0, err
	}
	if strings.Contains(before.String(), c.want) {
		return 0, fmt.Errorf("%s of %s: west said %s before", c.kind, c.service.Name, before)
	}
	begun := time.Now()
	if err := c.apply(east); err != nil {
		return 0, err
	}
	for {
		a, err := cluster.Exchange(conn, c.query)
		took := time.Since(begun)
		switch {
		case err != nil:
			return 0, err
		case strings.Contains(a.String(), c.want):
			return took, nil
		case took > lost:
			return 0, fmt.Errorf("%s of %s: west still says %s", c.kind, c.service.Name, a)
		}
		time.Sleep(lookEvery)
	}
}

func (c change) apply(east *cluster.Cluster) error {
	file := east.File(c.service)
	if c.kind == deleted {
		return os.Remove(file)
	}
	return cluster.Replace(file, c.service.YAML(east))
}
