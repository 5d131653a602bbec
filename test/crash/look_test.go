package crash

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/isthmus-dns/isthmus/test/cluster"
	"github.com/isthmus-dns/isthmus/test/history"
)

const (
	// askEvery is between two questions to an agent, pollEvery between two
	// looks at all services of a watcher.
	askEvery  = 3 * time.Millisecond
	pollEvery = 25 * time.Millisecond
	// lookTimeout is for a process that is frozen or dead.
	lookTimeout = 2 * time.Second
)

// errNoAnswer is an answer that says nothing about a service, as from an agent
// that has no table yet.
var errNoAnswer = errors.New("no answer")

// onlooker asks one node all the time.
type onlooker struct {
	node    *cluster.Process
	load    *load
	history *history.History
}

// look begins to ask all nodes of all clusters about a load's services, until
// the returned function is called or the test ends.
func look(t *testing.T, s *cluster.Set, l *load) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	for _, c := range s.Clusters {
		done.Go(func() { (&onlooker{c.Agent, l, l.history}).askAgent(ctx, c) })
		for _, w := range c.Watchers {
			done.Go(func() { (&onlooker{w.Process, l, l.history}).pollWatcher(ctx, w) })
		}
	}
	stop = sync.OnceFunc(func() { cancel(); done.Wait() })
	t.Cleanup(stop)
	return stop
}

// during runs an observation and tells the life that it was made in; 0 when
// the process was started meanwhile.
func (o *onlooker) during(observe func()) history.Node {
	life := o.node.Lives()
	observe()
	if o.node.Lives() != life {
		life = 0
	}
	return history.Node{Name: o.node.Name, Life: life}
}

func (o *onlooker) askAgent(ctx context.Context, c *cluster.Cluster) {
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	var names []string
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if len(names) == 0 {
			if names = o.load.asked(); len(names) == 0 {
				continue
			}
		}
		var value int
		var err error
		name := names[0]
		names = names[1:]
		node := o.during(func() { value, err = ask(c, o.load.cluster, name) })
		if err == nil && node.Life > 0 {
			o.history.Look(node, history.Service{Cluster: o.load.cluster, Name: name}, value, time.Now())
		}
	}
}

// ask asks an agent for a service's value: the port in its SRV record.
func ask(c *cluster.Cluster, of, name string) (int, error) {
	conn, err := dns.DialTimeout("udp", c.DNS, lookTimeout)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	a, err := cluster.Exchange(conn, cluster.Query{Name: of + "." + name + "." + shop + ".global.", Type: "SRV"})
	switch {
	case err != nil:
		return 0, err
	case a.Rcode == "NXDOMAIN", a.Rcode == "NOERROR" && len(a.Data) == 0:
		return history.Absent, nil
	case a.Rcode != "NOERROR":
		return 0, fmt.Errorf("%s: %w", a.Rcode, errNoAnswer)
	}
	fields := strings.Fields(a.Data[0]) // priority, weight, port, target
	if len(a.Data) != 1 || len(fields) != 4 {
		return 0, fmt.Errorf("%q: %w", a.Data, errNoAnswer)
	}
	return strconv.Atoi(fields[2])
}

func (o *onlooker) pollWatcher(ctx context.Context, w *cluster.Watcher) {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		names := o.load.asked()
		var shows map[string]int
		var err error
		node := o.during(func() { shows, err = services(ctx, w, o.load.cluster) })
		if err != nil || node.Life == 0 {
			continue
		}
		now := time.Now()
		for _, name := range names {
			o.history.Look(node, history.Service{Cluster: o.load.cluster, Name: name}, shows[name], now)
			delete(shows, name)
		}
		for name, value := range shows { // made meanwhile, or risen from the dead
			o.history.Look(node, history.Service{Cluster: o.load.cluster, Name: name}, value, now)
		}
	}
}

// services are the values of a cluster's services as a watcher shows them, once
// it is ready.
func services(ctx context.Context, w *cluster.Watcher, of string) (map[string]int, error) {
	if err := get(ctx, "http://"+w.HTTP+"/readyz", nil); err != nil {
		return nil, err
	}
	var page struct {
		Services []struct {
			Name     string
			Clusters []struct {
				Cluster string
				Ports   []struct{ Port int }
			}
		}
		Next string
	}
	if err := get(ctx, "http://"+w.HTTP+"/api/v1/services?namespace="+shop, &page); err != nil {
		return nil, err
	}
	if page.Next != "" {
		return nil, fmt.Errorf("more than a page of services: %w", errNoAnswer)
	}
	values := map[string]int{}
	for _, s := range page.Services {
		for _, c := range s.Clusters {
			if c.Cluster == of && len(c.Ports) == 1 {
				values[s.Name] = c.Ports[0].Port
			}
		}
	}
	return values, nil
}

// get asks a watcher's HTTP server; into may be nil.
func get(ctx context.Context, url string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	r, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %w", r.Status, errNoAnswer)
	}
	if into == nil {
		return nil
	}
	return json.NewDecoder(r.Body).Decode(into)
}

// epochAt is the epoch of a cluster's part that a watcher has, 0 if none.
func epochAt(w *cluster.Watcher, of string) uint64 {
	var status struct {
		Clusters []struct {
			Name  string
			Epoch uint64
		}
	}
	if get(context.Background(), "http://"+w.HTTP+"/api/v1/status", &status) != nil {
		return 0
	}
	for _, c := range status.Clusters {
		if c.Name == of {
			return c.Epoch
		}
	}
	return 0
}

// leads tells whether a watcher says that it publishes.
func leads(w *cluster.Watcher) bool {
	if !w.Running() {
		return false
	}
	var status struct{ Leading, Ready bool }
	return get(context.Background(), "http://"+w.HTTP+"/api/v1/status", &status) == nil && status.Leading
}
