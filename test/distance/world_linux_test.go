package distance

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// Addresses are of the range for benchmarks of networks (RFC 2544): not private,
// and nobody's.
const (
	viewer  = "198.18.0.1"
	network = "198.18.0.0/16"
	port    = "8080"
)

// world is the far namespace, with a listener for each gateway, and the way
// there.
func world(t *testing.T, gateways map[netip.Addr]time.Duration) *relay {
	r := &relay{paths: map[netip.Addr]*path{}}
	for gateway, rtt := range gateways {
		r.paths[gateway] = &path{rtt: rtt}
	}
	near, err := tun("near", "addr add "+viewer+" dev near", "link set near up", "route add "+network+" dev near src "+viewer)
	require.NoError(t, err)
	r.near = near
	var listeners []net.Listener
	made := make(chan error)
	go func() {
		// The namespace is this thread's, which ends with the goroutine because
		// it stays locked; the device and the sockets hold it.
		runtime.LockOSThread()
		made <- func() error {
			if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
				return fmt.Errorf("network namespace: %w", err)
			}
			commands := []string{"link set lo up", "link set far up", "route add " + viewer + " dev far"}
			for gateway := range gateways {
				commands = append(commands, fmt.Sprintf("addr add %s dev far", gateway))
			}
			var err error
			if r.far, err = tun("far", commands...); err != nil {
				return err
			}
			for gateway := range gateways {
				l, err := net.Listen("tcp", net.JoinHostPort(gateway.String(), port))
				if err != nil {
					return err
				}
				listeners = append(listeners, l)
			}
			return nil
		}()
	}()
	require.NoError(t, <-made)
	for _, l := range listeners {
		go serve(l)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); r.run() }()
	t.Cleanup(func() {
		r.near.Close()
		r.far.Close()
		for _, l := range listeners {
			l.Close()
		}
		<-ended
	})
	return r
}

// serve is a gateway: it takes connections, and has nothing to say.
func serve(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		conn.Close()
	}
}

// tun makes a TUN device in the namespace of this thread, and runs commands of
// ip there.
func tun(name string, commands ...string) (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("/dev/net/tun: %w", err)
	}
	request, err := unix.NewIfreq(name)
	if err != nil {
		return nil, err
	}
	request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
		return nil, fmt.Errorf("device %s: %w", name, err)
	}
	f := os.NewFile(uintptr(fd), name) // after the ioctl: it is read only when it is a device
	for _, command := range commands {
		if out, err := exec.Command("ip", strings.Fields(command)...).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("ip %s: %w %s", command, err, out)
		}
	}
	return f, nil
}
