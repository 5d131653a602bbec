package trust_test

import (
	"crypto/tls"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/gossip/trust"
)

// rightClock lets a side of a handshake in a bubble, whose clock is wrong,
// check the other one at the real time.
func rightClock(t *testing.T) func(*tls.Config) *tls.Config {
	type question struct {
		ask   func() error
		reply chan error
	}
	questions, replies := make(chan question), make(chan error)
	go func() {
		for q := range questions {
			q.reply <- q.ask()
		}
	}()
	t.Cleanup(func() { close(questions) })
	return func(c *tls.Config) *tls.Config {
		verify := c.VerifyConnection
		c.VerifyConnection = func(cs tls.ConnectionState) error {
			questions <- question{func() error { return verify(cs) }, replies}
			return <-replies
		}
		return c
	}
}

// shake connects two sides in a bubble.
func shake(server, client *tls.Config) (serverErr, clientErr error) {
	a, b := net.Pipe()
	done := make(chan error, 1)
	go func() {
		defer a.Close()
		conn := tls.Server(a, server)
		err := conn.Handshake()
		if err == nil {
			_, err = conn.Write([]byte{1}) // TLS 1.3: the client is done before the server has checked it
		}
		done <- err
	}()
	conn := tls.Client(b, client)
	clientErr = conn.Handshake()
	if clientErr == nil {
		_, clientErr = conn.Read(make([]byte, 1))
	}
	b.Close()
	return <-done, clientErr
}

// TestClockYearsOff: a watcher whose clock is years off goes on to connect, and
// to be connected to, for as long as the others' clocks and all certificates
// are right. What is wrong but for the clock is refused as ever.
func TestClockYearsOff(t *testing.T) {
	a := authority(t)
	west := load(t, a, "west", trust.Watcher)
	east := load(t, a, "east", trust.Watcher)
	stranger := load(t, authority(t), "east", trust.Watcher)
	right := rightClock(t)
	realNow := time.Now()
	require.NoError(t, west.ClockDoubt())
	for what, off := range map[string]time.Duration{
		"behind": 0, // a bubble begins in the year 2000
		"ahead":  10 * 365 * 24 * time.Hour,
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if off > 0 {
					time.Sleep(time.Until(realNow.Add(off)))
				}
				require.ErrorContains(t, west.ClockDoubt(), "this machine's clock says "+time.Now().UTC().Format("2006-"))
				serverErr, clientErr := shake(right(east.Server(nil, "h2")), west.Client(nil, "", "h2"))
				require.NoError(t, serverErr)
				require.NoError(t, clientErr)
				serverErr, clientErr = shake(west.Server(nil, "h2"), right(east.Client(nil, "", "h2")))
				require.NoError(t, serverErr)
				require.NoError(t, clientErr)
				serverErr, _ = shake(west.Server(nil, "h2"), right(stranger.Client(nil, "", "h2")))
				require.Error(t, serverErr)
				_, clientErr = shake(right(stranger.Server(nil, "h2")), west.Client(nil, "", "h2"))
				require.ErrorContains(t, clientErr, "refused")
			})
		})
	}
}

// TestExpiredIsRefused where clock and own certificate are right, and whose
// clock that is stands in the error.
func TestExpiredIsRefused(t *testing.T) {
	a := authority(t)
	west := load(t, a, "west", trust.Watcher)
	expired, err := trust.Load(issue(t, t.TempDir(), a, trust.ID{Clusterset: "prod", Cluster: "east", Role: trust.Watcher}, -time.Minute), "prod")
	require.NoError(t, err)
	client := expired.Client(nil, "", "h2")
	client.VerifyConnection = nil
	_, err, _ = handshake(t, west.Server(nil, "h2"), client)
	require.ErrorContains(t, err, "expired")
	require.ErrorContains(t, err, "the clock is this machine's")
}
