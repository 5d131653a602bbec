package replica

import (
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/gossip/trust"
)

// logLines is a log in memory.
type logLines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logLines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

// with are the lines that hold all the given texts.
func (l *logLines) with(texts ...string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []string
	for line := range strings.Lines(l.text.String()) {
		all := true
		for _, text := range texts {
			all = all && strings.Contains(line, text)
		}
		if all {
			out = append(out, line)
		}
	}
	return out
}

// TestCommitsAreLogged: at the debug level, and only there, a node tells each
// version that it makes current, in order and with what changed.
func TestCommitsAreLogged(t *testing.T) {
	p, n := newPKI(t), &network{}
	west := n.start(t, p, "w0.west", "west")
	for _, level := range []slog.Level{slog.LevelDebug, slog.LevelInfo} {
		t.Run(level.String(), func(t *testing.T) {
			log := &logLines{}
			s, err := NewSubscriber(SubscriberConfig{
				Watchers: []string{west.peer.Addr}, Identity: p.identity("west", trust.Agent), Table: discovery.NewTable(),
				Logger: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: level})),
			})
			require.NoError(t, err)
			follow(t, s)
			west.publisher.Update(whole("west", service("user", 1)))
			stop := west.lead(t, &counter{n: uint64(level) + 10})
			eventually(t, "first", func() bool { return ready(s.Table(), "user", "west") == 1 })
			west.publisher.Update(discovery.Update{Services: []*discovery.Service{service("user", 0)}})
			eventually(t, "changed", func() bool { return ready(s.Table(), "user", "west") == 0 })
			west.publisher.Update(whole("west"))
			eventually(t, "removed", func() bool { return ready(s.Table(), "user", "west") == -1 })
			stop()
			lines := log.with("part committed", "cluster=west", "uid=uid-west")
			if level > slog.LevelDebug {
				require.Empty(t, lines)
				return
			}
			require.Len(t, lines, 3)
			require.Contains(t, lines[0], `epoch=7 seq=1`)
			require.Regexp(t, `root=[0-9a-f]{16} items=2 changed="c@[0-9a-f]{16} s/production/user@[0-9a-f]{16}" removed=""`, lines[0])
			require.Regexp(t, `seq=2 .*items=2 changed=s/production/user@[0-9a-f]{16} removed=""`, lines[1])
			require.Regexp(t, `seq=3 .*items=1 changed="" removed=s/production/user`, lines[2])
		})
	}
}

func TestLoggedKeysAreBounded(t *testing.T) {
	var keys []string
	for i := range maxLoggedKeys + 7 {
		keys = append(keys, fmt.Sprintf("s/shop/%04d", i))
	}
	text := listed(keys)
	require.Contains(t, text, "s/shop/0000 ")
	require.True(t, strings.HasSuffix(text, fmt.Sprintf("s/shop/%04d +7", maxLoggedKeys-1)), text[len(text)-30:])
	require.Empty(t, listed(nil))
}

// TestRetirementIsLogged: of a cluster that somebody took out, or let come back,
// others' logs have a line.
func TestRetirementIsLogged(t *testing.T) {
	p, n := newPKI(t), &network{}
	west := n.start(t, p, "w0.west", "west")
	west.publisher.Update(whole("west"))
	west.lead(t, &counter{})
	east := n.start(t, p, "e0.east", "east")
	east.publisher.Update(whole("east", service("user", 3)))
	east.lead(t, &counter{n: 6})
	log := &logLines{}
	s, err := NewSubscriber(SubscriberConfig{
		Watchers: []string{west.peer.Addr}, Identity: p.identity("west", trust.Agent), Table: discovery.NewTable(),
		Logger: slog.New(slog.NewTextHandler(log, nil)),
	})
	require.NoError(t, err)
	follow(t, s)
	eventually(t, "the agent has it", func() bool { return ready(s.Table(), "user", "east") == 3 })

	m := retirement(p, west)
	_, err = m.Do(within(t))
	require.NoError(t, err)
	eventually(t, "retired", func() bool {
		return len(log.with("level=WARN", "cluster was retired", "cluster=east", "uid=uid-east")) == 1
	})
	m.Undo = true
	_, err = m.Do(within(t))
	require.NoError(t, err)
	eventually(t, "let back", func() bool { return len(log.with("cluster is not retired any more", "cluster=east")) == 1 })
}
