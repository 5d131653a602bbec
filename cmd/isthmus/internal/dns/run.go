package dns

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	clog "github.com/coredns/coredns/plugin/pkg/log"
)

// Options say what to serve and how to talk about it.
type Options struct {
	// File is the Corefile; read again at each reload. "stdin" is read once.
	File string
	// Port is for server blocks that name none; "" is 53.
	Port string
	// PidFile gets the process's number while the server runs; "" for none.
	PidFile string
	// Quiet leaves out the lines on what is served.
	Quiet bool
	// JSON makes CoreDNS log JSON.
	JSON bool
	// Output takes CoreDNS's log; nil is the standard output, as with
	// CoreDNS itself.
	Output io.Writer
	// Version is what CoreDNS's chaos plugin answers.
	Version string
	// Reload reads the Corefile again at each value, keeping the sockets. A
	// broken one is logged and the old one stays. May be nil.
	Reload <-chan os.Signal
	// Started is called once, when all sockets are open, with the addresses
	// as network and host:port. May be nil.
	Started func(addresses []string)
}

// stopTime bounds the wait for servers to end: twice what CoreDNS gives open
// connections (5 s).
const stopTime = 10 * time.Second

var errSecond = errors.New("dns: a server runs in this process already")

// server is the process's only one: CoreDNS's state is the process's.
type server struct {
	running sync.Mutex
	source  atomic.Pointer[source]
	current atomic.Pointer[caddy.Instance] // nil while none runs
	turn    turn
}

// source reads the present Corefile for a reload.
type source struct{ load func() (caddy.Input, error) }

var theServer = sync.OnceValue(func() *server {
	s := new(server)
	// The reload plugin asks the process's loader for the Corefile, and
	// restarts the instance on its own: the hook is how we learn of the new
	// one.
	caddy.RegisterCaddyfileLoader(isthmusDirective, caddy.LoaderFunc(func(string) (caddy.Input, error) {
		// Who loads has seen all of the current instance, hooks included.
		if from := s.source.Load(); from != nil && s.current.Load() != nil {
			return from.load()
		}
		return nil, nil
	}))
	caddy.RegisterEventHook(isthmusDirective, func(event caddy.EventName, info any) error {
		if instance, ok := info.(*caddy.Instance); ok && event == caddy.InstanceStartupEvent {
			s.follow(instance)
		}
		return nil
	})
	return s
})

// Run serves the Corefile until ctx ends, then stops gracefully and returns
// nil. A Corefile that can't be served gives a [*CorefileError]; then nothing
// was started, or what was is stopped.
func Run(ctx context.Context, o Options) error {
	s := theServer()
	if !s.running.TryLock() {
		return errSecond
	}
	defer s.running.Unlock()
	configure(o)
	input, err := read(o.File)
	if err != nil {
		return err
	}
	list, err := blocks(input)
	if err != nil {
		return err
	}
	if err := probe(input, list); err != nil {
		return err
	}
	s.source.Store(&source{func() (caddy.Input, error) { return read(o.File) }})
	defer s.source.Store(nil)
	instance, err := caddy.Start(input)
	if err != nil {
		return locate(input, err)
	}
	if o.Started != nil {
		o.Started(addresses(instance))
	}
	holding, release := context.WithCancel(context.WithoutCancel(ctx))
	var stacks sync.WaitGroup
	stacks.Go(func() { holdStacks(holding) })
	defer stacks.Wait()
	defer release()
	s.serve(ctx, o.Reload)
	return s.stop()
}

// configure sets the process-wide settings that CoreDNS's own main would.
func configure(o Options) {
	caddy.Quiet = true // its notes on file descriptors
	caddy.AppName = "isthmus"
	caddy.AppVersion = o.Version
	caddy.PidFile = o.PidFile
	dnsserver.Quiet = o.Quiet
	dnsserver.Port = o.Port
	if o.Port == "" {
		dnsserver.Port = dnsserver.DefaultPort
	}
	if o.Output == nil {
		o.Output = os.Stdout
	}
	if o.JSON {
		_ = clog.Configure("json", o.Output) // only an unknown format fails
		return
	}
	clog.SetOutput(o.Output)
	log.SetFlags(0) // CoreDNS's lines have no time; what collects them does
}

func (s *server) serve(ctx context.Context, reload <-chan os.Signal) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-reload:
			s.reload()
		}
	}
}

// reload exchanges the instance for one of the Corefile as it is now. Caddy
// logs what fails, and so do we when it doesn't.
func (s *server) reload() {
	input, err := s.source.Load().load()
	if err != nil {
		clog.Errorf("Reload: %v", err)
		return
	}
	if _, err := blocks(input); err != nil {
		clog.Errorf("Reload: %v", err)
		return
	}
	_, err = s.current.Load().Restart(input)
	if errors.Is(err, errReplaced) { // by the reload plugin, which may have read an older text
		_, err = s.current.Load().Restart(input)
	}
	if err != nil {
		clog.Errorf("Reload: %v", locate(input, err))
	}
}

// stop runs the shutdown callbacks while the sockets still answer, which is
// what the health plugin's lame duck needs, then closes the sockets and waits.
func (s *server) stop() error {
	s.turn.mu.Lock() // a reload that is going on gets to its end
	instance := s.current.Swap(nil)
	awaitServing(instance)
	errs := instance.ShutdownCallbacks()
	errs = append(errs, caddy.Stop())
	s.turn.mu.Unlock() // a reload that waits counts as a part of the instance
	if caddy.PidFile != "" {
		errs = append(errs, os.Remove(caddy.PidFile))
	}
	done := make(chan struct{})
	go func() {
		instance.Wait()
		close(done)
	}()
	late := time.NewTimer(stopTime)
	defer late.Stop()
	select {
	case <-done:
	case <-late.C:
		errs = append(errs, fmt.Errorf("servers did not end within %v", stopTime))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("dns: stop: %w", err)
	}
	return nil
}

func addresses(instance *caddy.Instance) []string {
	var all []string
	for _, s := range instance.Servers() {
		if a := s.LocalAddr(); a != nil {
			all = append(all, "udp "+a.String())
		}
		if a := s.Addr(); a != nil {
			all = append(all, "tcp "+a.String())
		}
	}
	return all
}
