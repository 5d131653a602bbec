package dns

import (
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coredns/caddy"
	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/test/freeport"
)

// TestReplacedInstanceStaysDown: a reload that came too late doesn't bring back
// what the instance that it knew had open besides the DNS sockets.
func TestReplacedInstanceStaysDown(t *testing.T) {
	port, health, ready, metrics := freeport.Port(t), freeport.Addr(t), freeport.Addr(t), freeport.Addr(t)
	with := fmt.Sprintf("a.example:%s {\n bind 127.0.0.1\n health %s\n ready %s\n prometheus %s\n hosts {\n 192.0.2.1 a.example\n }\n}\n", port, health, ready, metrics)
	file := corefile(t, with)
	reload := make(chan os.Signal)
	stop := start(t, Options{File: file, Reload: reload, Output: new(journal)})
	old := theServer().current.Load()
	for _, addr := range []string{health, ready, metrics} {
		require.True(t, listening(addr))
	}
	require.NoError(t, os.Rename(corefile(t, hosts(port, "192.0.2.2")), file))
	reload <- syscall.SIGUSR1
	require.Eventually(t, func() bool { return theServer().current.Load() != old }, 30*time.Second, time.Millisecond)
	sockets := []string{health, ready, metrics}
	require.Eventually(t, func() bool { return !slices.ContainsFunc(sockets, listening) }, 30*time.Second, time.Millisecond)
	input, err := caddy.LoadCaddyfile(serverType)
	require.NoError(t, err)
	for range 2 {
		_, err = old.Restart(input)
		require.ErrorIs(t, err, errReplaced)
	}
	for _, addr := range sockets {
		require.False(t, listening(addr), addr)
	}
	require.NoError(t, stop())
}

func listening(addr string) bool {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return false
	}
	_ = c.Close()
	return true
}

// TestStopMeetsAReload: a reload that wants its turn while the server stops
// doesn't hold the end up.
func TestStopMeetsAReload(t *testing.T) {
	port := freeport.Port(t)
	stop := start(t, Options{File: corefile(t, hosts(port, "192.0.2.1")), Output: new(journal)})
	instance := theServer().current.Load()
	input := instance.Caddyfile()
	came, ended := make(chan struct{}), make(chan error)
	instance.OnRestart = slices.Insert(instance.OnRestart, 0, func() error {
		close(came)
		return nil
	})
	instance.OnShutdown = append(instance.OnShutdown, func() error {
		go func() {
			_, err := instance.Restart(input)
			ended <- err
		}()
		<-came
		return nil
	})
	require.NoError(t, stop())
	require.ErrorIs(t, <-ended, errReplaced)
}

// TestStopAmongReloads: signals and the reload plugin go on reloading when the
// server is told to stop.
func TestStopAmongReloads(t *testing.T) {
	for range 5 {
		port := freeport.Port(t)
		file := corefile(t, hosts(port, "192.0.2.1"))
		reload := make(chan os.Signal)
		out := new(journal)
		stop := start(t, Options{File: file, Reload: reload, Output: out})
		stopped := make(chan struct{})
		var reloads sync.WaitGroup
		reloads.Go(func() {
			for {
				select {
				case reload <- syscall.SIGUSR1:
				case <-stopped:
					return
				}
			}
		})
		reloads.Go(func() { // what the reload plugin does
			for instance := theServer().current.Load(); instance != nil; instance = theServer().current.Load() {
				if input, err := caddy.LoadCaddyfile(serverType); err == nil {
					_, _ = instance.Restart(input)
				}
			}
		})
		first := theServer().current.Load()
		require.Eventually(t, func() bool { return theServer().current.Load() != first }, 30*time.Second, time.Millisecond)
		require.NoError(t, stop())
		close(stopped)
		reloads.Wait()
		require.Empty(t, caddy.Instances())
		require.False(t, listening("127.0.0.1:"+port))
		require.NotContains(t, out.String(), "[PANIC]")
	}
}
