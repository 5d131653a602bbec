package demo

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"
)

// backends are the HTTP servers of all clusters' addresses.
type backends struct {
	listeners []net.Listener
	names     []string // of the cluster, by listener
}

// listenBackends binds all addresses.
func listenBackends() (*backends, error) {
	b := &backends{}
	for _, c := range clusters {
		for _, addr := range c.addresses() {
			l, err := net.Listen("tcp", addr)
			if err != nil {
				b.close()
				return nil, fmt.Errorf("demo server: %w; stop what holds the port (on macOS, first add the address: sudo ifconfig lo0 alias %s)", err, addrHost(addr))
			}
			b.listeners = append(b.listeners, l)
			b.names = append(b.names, c.name)
		}
	}
	return b, nil
}

func addrHost(addr string) string {
	host, _, _ := net.SplitHostPort(addr)
	return host
}

func (b *backends) close() {
	for _, l := range b.listeners {
		l.Close()
	}
}

// run answers each request with the cluster's name until ctx ends.
func (b *backends) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for i, l := range b.listeners {
		s := &http.Server{
			ReadHeaderTimeout: 5 * time.Second, IdleTimeout: 30 * time.Second, MaxHeaderBytes: 16 << 10,
			Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, b.names[i]) }),
		}
		g.Go(func() error {
			if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				return err
			}
			return nil
		})
		g.Go(func() error {
			<-ctx.Done()
			return s.Close()
		})
	}
	return g.Wait()
}
