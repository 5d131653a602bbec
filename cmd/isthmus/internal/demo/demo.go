package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	mdns "github.com/miekg/dns"

	"github.com/isthmus-dns/isthmus/cmd/isthmus/internal/config"
	"github.com/isthmus-dns/isthmus/cmd/isthmus/internal/dns"
	"github.com/isthmus-dns/isthmus/cmd/isthmus/internal/lifecycle"
	"github.com/isthmus-dns/isthmus/cmd/isthmus/internal/watch"
)

// Options say where the demo lives and whom it tells.
type Options struct {
	Dir     string    // made if it isn't there
	Out     io.Writer // what a person should read
	Version string
}

// logFile takes what the watchers and DNS servers log.
const logFile = "isthmus.log"

// ErrRunning is wrapped by errors that came after the demo had started.
var ErrRunning = errors.New("demo")

// Run runs the demo until ctx ends. Relative names in its Corefile are
// relative to Dir, so the process's working directory becomes Dir.
func Run(ctx context.Context, o Options) error {
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return err
	}
	if err := prepare(dir); err != nil {
		return err
	}
	if err := os.Chdir(dir); err != nil {
		return err
	}
	logs, err := os.OpenFile(logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer logs.Close()
	fmt.Fprintf(o.Out, "Starting three clusters in %s (log: %s) …\n", o.Dir, filepath.Join(o.Dir, logFile))
	parts, err := assemble(o, logs)
	if err != nil {
		return err
	}
	if err := lifecycle.Run(ctx, parts...); err != nil {
		return fmt.Errorf("%w: %w", ErrRunning, err)
	}
	return nil
}

// assemble binds all ports before anything lives.
func assemble(o Options, logs io.Writer) ([]lifecycle.Part, error) {
	servers, err := listenBackends()
	if err != nil {
		return nil, err
	}
	parts := []lifecycle.Part{{Name: "demo servers", Run: servers.run}}
	var watchers []*watch.Watcher
	log := slog.New(slog.NewJSONHandler(logs, nil))
	for _, c := range clusters {
		w, err := newWatcher(c, o, log)
		if err != nil {
			servers.close()
			for _, w := range watchers {
				w.Close()
			}
			return nil, err
		}
		watchers = append(watchers, w)
		parts = append(parts, lifecycle.Part{
			Name: "watcher of " + c.name,
			Run:  func(ctx context.Context) error { return lives(ctx, w, c, o, log) },
		})
	}
	options := dns.Options{File: "Corefile", Quiet: true, Output: logs, Version: o.Version}
	return append(
		parts,
		lifecycle.Part{Name: "dns", Run: func(ctx context.Context) error { return dns.Run(ctx, options) }},
		lifecycle.Part{Name: "guide", Run: func(ctx context.Context) error { return guide(ctx, o) }},
	), nil
}

// rest is the pause before a watcher that ended is started again.
const rest = 2 * time.Second

// lives runs a watcher. One that was retired ends, and the others go on, as they
// would elsewhere. As Kubernetes does, we start it again, so that it is back
// when the retirement was undone.
func lives(ctx context.Context, w *watch.Watcher, c cluster, o Options, log *slog.Logger) error {
	for told := false; ; told = true {
		err := w.Run(ctx)
		if ctx.Err() != nil || !watch.IsConfig(err) {
			return err
		}
		if !told {
			fmt.Fprintf(o.Out, "The watcher of %s has stopped and is started again every %v, the others go on: %v\n", c.name, rest, err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(rest):
		}
		if w, err = newWatcher(c, o, log); err != nil {
			return err
		}
	}
}

func newWatcher(c cluster, o Options, log *slog.Logger) (*watch.Watcher, error) {
	conf, err := config.Load(configFile(".", c))
	if err != nil {
		return nil, err
	}
	return watch.New(conf, watch.Options{Logger: log, Watcher: "demo", AllowLoopback: true, Version: o.Version})
}

// patience is how long the guide waits: a demo is ready within a second or two.
const patience = 15 * time.Second

// guide waits until each cluster answers for the others and then says what to
// try. Whoever has changed the manifests may have no such answers.
func guide(ctx context.Context, o Options) error {
	started := time.Now()
	waiting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for _, c := range clusters {
		if !answers(waiting, c) {
			break
		}
	}
	switch {
	case ctx.Err() != nil:
		return nil
	case waiting.Err() != nil:
		fmt.Fprintf(o.Out, "Not all of the demo's services are answered. Were they changed? Otherwise see the log, or remove %s to begin anew.\n", o.Dir)
	}
	fmt.Fprintf(o.Out, guideText, time.Since(started).Seconds(), o.Dir)
	<-ctx.Done()
	return nil
}

// answers waits until a cluster's DNS has what it needs: apollo is in east
// only, user-service in all three.
func answers(ctx context.Context, c cluster) bool {
	client := &mdns.Client{Timeout: time.Second}
	addr := fmt.Sprintf("127.0.0.1:%d", c.dns)
	for {
		complete := true
		for _, name := range []string{"apollo-configservice.apollo.global.", "east.user-service.production.global.", "west.orders.production.global."} {
			q := new(mdns.Msg)
			q.SetQuestion(name, mdns.TypeA)
			r, _, err := client.ExchangeContext(ctx, q, addr)
			complete = complete && err == nil && len(r.Answer) > 0
		}
		if complete {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(50 * time.Millisecond):
		}
	}
}

const guideText = `Ready after %.1f s. Clusters west, central and east answer DNS on ports 1053, 1054 and 1055.

In west, a service that runs in west, in the other two, and in east only:
  dig @127.0.0.1 -p 1053 +noall +answer user-service.production.global
  dig @127.0.0.1 -p 1053 +noall +answer payment-service.production.global
  dig @127.0.0.1 -p 1053 +noall +answer apollo-configservice.apollo.global
  dig @127.0.0.1 -p 1053 +noall +answer _http._tcp.apollo-configservice.apollo.global SRV
Why this answer:
  dig @127.0.0.1 -p 1053 +short _why.payment-service.production.global TXT
Where an answer leads (each server says its cluster's name):
  curl http://$(dig @127.0.0.1 -p 1053 +short payment-service.production.global):8080
Change something: set "ready: false" in %[2]s/east/payment-service.yaml, save, and ask again.
What a watcher knows:
  curl -s http://127.0.0.1:8081/api/v1/status

Ctrl-C stops everything.
`
