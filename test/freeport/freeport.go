// Package freeport gives tests loopback ports that no other test gets, of this
// process or of one that runs beside it: `go test ./...` runs packages side by
// side, and ports that are drawn at random meet sooner than one thinks.
//
// A process holds a block of ports by listening on the block's first one for
// as long as it lives, and hands out each of the others once. All lie below
// the range that Linux and others take the ports of outgoing connections from,
// so that a stopped server finds its port free when it comes back.
package freeport

import (
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"testing"
)

const (
	firstPort = 20000
	blockSize = 100
	blocks    = 120 // up to 31999; outgoing connections begin at 32768 on Linux
)

// held is what this process holds.
var held struct {
	mu    sync.Mutex
	locks []net.Listener
	next  int // the next port of the newest block
	left  int // ports of it that nobody got yet
}

// Take gives a port that is free for TCP and UDP on 127.0.0.1, never twice.
func Take() (string, error) {
	held.mu.Lock()
	defer held.mu.Unlock()
	for {
		if held.left == 0 {
			if err := holdLocked(); err != nil {
				return "", err
			}
		}
		port := strconv.Itoa(held.next)
		held.next, held.left = held.next+1, held.left-1
		if Free(net.JoinHostPort("127.0.0.1", port)) { // else somebody who does not know of blocks has it
			return port, nil
		}
	}
}

// Port is Take for a test.
func Port(t testing.TB) string {
	t.Helper()
	port, err := Take()
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// Addr is Port with the host: "127.0.0.1:PORT".
func Addr(t testing.TB) string {
	t.Helper()
	return net.JoinHostPort("127.0.0.1", Port(t))
}

// Free tells whether an address can be listened on, by TCP and UDP.
func Free(addr string) bool {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return false
	}
	defer l.Close()
	c, err := net.ListenPacket("udp", addr)
	if err != nil {
		return false
	}
	_ = c.Close() // it was never used
	return true
}

// holdLocked takes a block that no process holds, from a random one on.
func holdLocked() error {
	begin := rand.IntN(blocks)
	for i := range blocks {
		base := firstPort + (begin+i)%blocks*blockSize
		l, err := net.Listen("tcp", address(base))
		if err != nil {
			continue
		}
		held.locks = append(held.locks, l)
		held.next, held.left = base+1, blockSize-1
		return nil
	}
	return errors.New("free loopback port: all blocks are held")
}

func address(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
