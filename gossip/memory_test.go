package gossip

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// noted is a logger and what it wrote.
func noted() (*slog.Logger, *strings.Builder) {
	var b strings.Builder
	return slog.New(slog.NewTextHandler(&b, nil)), &b
}

var quiet = slog.New(slog.DiscardHandler)

// TestARestartedMemberComesBackByItself: its seeds name no other cluster, or
// none that lives.
func TestARestartedMemberComesBackByItself(t *testing.T) {
	for name, kill := range map[string]bool{"after a farewell": false, "after a crash": true} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, net *network) {
				dir := t.TempDir()
				dead := Resolver(resolverFunc(func(string) ([]netip.Addr, error) { return nil, errors.New("no such host") }))
				nodes := clusters(t, net, 3)
				defer func() { stopAll(nodes) }()
				west := net.start(t, Config{
					Name: "w0.west", Advertise: "10.0.0.9:7946", Join: []string{seed}, Memory: OpenMemory(dir, quiet),
				})
				time.Sleep(time.Minute)
				require.Len(t, west.names(), 4)
				if kill {
					net.unplug("10.0.0.9:7946") // its farewell reaches nobody
					b, err := os.ReadFile(filepath.Join(dir, memoryFile))
					require.NoError(t, err)
					west.stop()
					require.NoError(t, os.WriteFile(filepath.Join(dir, memoryFile), b, 0o600))
				}
				west.stop()
				time.Sleep(time.Hour) // the others have forgotten it

				memory := OpenMemory(dir, quiet)
				require.Equal(t, 3, memory.Len())
				again := net.start(t, Config{
					Name: "w1.west", Advertise: "10.0.0.10:7946", Join: []string{"gone.example.net:7946"},
					Resolver: dead, Memory: memory,
				})
				defer again.stop()
				time.Sleep(settle)
				require.Equal(t, []string{"w0.c1", "w0.c2", "w0.c3", "w1.west"}, again.names())
			})
		})
	}
}

// TestMemoryIsWrittenSeldom: when members change, at most every 30 s, and at
// the end.
func TestMemoryIsWrittenSeldom(t *testing.T) {
	bubble(t, func(t *testing.T, net *network) {
		dir := t.TempDir()
		path := filepath.Join(dir, memoryFile)
		nodes := clusters(t, net, 2)
		defer func() { stopAll(nodes) }()
		west := net.start(t, Config{Name: "w0.west", Advertise: "10.0.0.9:7946", Join: []string{seed}, Memory: OpenMemory(dir, quiet)})
		defer west.stop()
		time.Sleep(memoryInterval - time.Second)
		require.NoFileExists(t, path)
		time.Sleep(2 * time.Second)
		require.FileExists(t, path)
		require.NoFileExists(t, path+".tmp")
		require.NoError(t, os.Remove(path))
		time.Sleep(10 * memoryInterval)
		require.NoFileExists(t, path, "nothing changed")
		late := net.start(t, Config{Name: "w0.late", Advertise: "10.0.0.10:7946", Join: []string{seed}})
		defer late.stop()
		time.Sleep(settle)
		west.stop()
		require.Equal(t, 3, OpenMemory(dir, quiet).Len())
	})
}

// TestAFolderThatCantBeWrittenIsNoFault: on Kubernetes it may be read-only.
func TestAFolderThatCantBeWrittenIsNoFault(t *testing.T) {
	bubble(t, func(t *testing.T, net *network) {
		file := filepath.Join(t.TempDir(), "file")
		require.NoError(t, os.WriteFile(file, nil, 0o600))
		log, text := noted()
		nodes := clusters(t, net, 2)
		defer func() { stopAll(nodes) }()
		west := net.start(t, Config{
			Name: "w0.west", Advertise: "10.0.0.9:7946", Join: []string{seed}, Memory: OpenMemory(filepath.Join(file, "state"), log),
		})
		time.Sleep(10 * memoryInterval)
		require.Len(t, west.names(), 3)
		west.stop()
		require.Equal(t, 1, strings.Count(text.String(), "peers not remembered on disk"), text.String())
	})
}

// TestRememberedPeersExpire: how long one was lost goes on counting in the
// next process, without a clock.
func TestRememberedPeersExpire(t *testing.T) {
	bubble(t, func(t *testing.T, net *network) {
		dir := t.TempDir()
		m := OpenMemory(dir, quiet)
		require.True(t, m.save([]rememberedPeer{
			{name: "w0.old", addr: someAddr, lost: lostFor - time.Hour},
			{name: "w0.young", addr: someAddr},
			{name: "w0.west", addr: someAddr},
		}))
		west := net.start(t, Config{Name: "w0.west", Advertise: "10.0.0.9:7946", Memory: OpenMemory(dir, quiet)})
		time.Sleep(2 * time.Hour)
		west.stop()
		got := OpenMemory(dir, quiet).peers
		require.Len(t, got, 1)
		require.Equal(t, "w0.young", got[0].name)
		require.InDelta(t, 2*time.Hour, got[0].lost, float64(time.Minute))
	})
}

func TestDamagedMemoryIsSetAside(t *testing.T) {
	good := string(encodePeers([]rememberedPeer{{name: "w0.east", addr: someAddr}, {name: "w1.east", addr: someAddr, lost: time.Minute}}))
	require.Contains(t, good, "w1.east 10.0.0.1:1 60\n")
	for name, c := range map[string]struct{ text, want string }{
		"empty":       {"", "does not begin with"},
		"truncated":   {good[:len(good)-3], "wrong checksum"},
		"bit flipped": {strings.Replace(good, "10.0.0.1", "10.0.0.3", 1), "wrong checksum"},
		"later":       {strings.Replace(good, " 1 ", " 2 ", 1), `version "2"`},
		"huge":        {good + strings.Repeat("x", maxMemory), "longer than"},
		"no member":   {string(encodePeers([]rememberedPeer{{name: "east", addr: someAddr}})), "line 2: member name"},
		"no address":  {string(encodePeers([]rememberedPeer{{name: "w0.east"}})), "line 2"},
		"nowhere":     {string(encodePeers([]rememberedPeer{{name: "w0.east", addr: netip.MustParseAddrPort("0.0.0.0:1")}})), "can't be a member's"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, memoryFile)
			require.NoError(t, os.WriteFile(path, []byte(c.text), 0o600))
			log, text := noted()
			m := OpenMemory(dir, log)
			require.Zero(t, m.Len())
			require.Contains(t, strings.ReplaceAll(text.String(), `\"`, `"`), c.want)
			aside, err := os.ReadFile(path + ".damaged")
			require.NoError(t, err)
			require.Equal(t, c.text, string(aside))
			require.NoFileExists(t, path)
			require.True(t, m.save(nil), "and it begins anew")
		})
	}
	require.Zero(t, (*Memory)(nil).Len())
	require.Zero(t, OpenMemory(filepath.Join(t.TempDir(), "none"), quiet).Len())
}

func TestFullMemoryFits(t *testing.T) {
	var peers []rememberedPeer
	for i := range MaxMembers + 100 {
		name := fmt.Sprintf("%s%05d.%s", strings.Repeat("a", 58), i, strings.Repeat("b", 63))
		peers = append(peers, rememberedPeer{name: name, addr: netip.MustParseAddrPort("[2001:db8:1111:2222:3333:4444:5555:6666]:65535"), lost: lostFor - 1})
	}
	b := encodePeers(peers)
	require.LessOrEqual(t, len(b), maxMemory)
	got, err := decodePeers(b)
	require.NoError(t, err)
	require.Len(t, got, MaxMembers)
}

func FuzzDecodePeers(f *testing.F) {
	f.Add(encodePeers(nil))
	f.Add(encodePeers([]rememberedPeer{{name: "w0.east", addr: someAddr, lost: time.Hour}}))
	f.Add([]byte("isthmus-peers 1 00000000\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		peers, err := decodePeers(b)
		if err != nil {
			require.ErrorIs(t, err, errMemory)
			return
		}
		again, err := decodePeers(encodePeers(peers))
		require.NoError(t, err)
		require.ElementsMatch(t, peers, again)
	})
}
