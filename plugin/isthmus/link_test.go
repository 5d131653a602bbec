package isthmus

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/discovery"
)

// opened counts the links that a test's open made and how many of them run.
type opened struct {
	made, running atomic.Int32
	err           error
	link          func(linkConfig) *fakeLink
}

// replaceOpen makes links without watchers for the time of a test.
func replaceOpen(t *testing.T) *opened {
	o := &opened{link: func(linkConfig) *fakeLink { return newLink(demoTable(t)) }}
	before := open
	t.Cleanup(func() { open = before })
	open = func(cfg linkConfig, _ *slog.Logger) (link, func(context.Context) error, error) {
		if o.err != nil {
			return nil, nil, o.err
		}
		o.made.Add(1)
		return o.link(cfg), func(ctx context.Context) error {
			o.running.Add(1)
			defer o.running.Add(-1)
			<-ctx.Done()
			return nil
		}, nil
	}
	return o
}

func TestRegistryShares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := replaceOpen(t)
		r := newRegistry(linger)
		cfg := linkConfig{watchers: "a:1"}
		first, err := r.prepare(cfg)
		require.NoError(t, err)
		second, err := r.prepare(cfg)
		require.NoError(t, err)
		require.Same(t, first, second)
		require.Same(t, r.viewpoint(first, westLocality), r.viewpoint(second, westLocality))
		require.NotSame(t, r.viewpoint(first, westLocality), r.viewpoint(first, discovery.Locality{}))
		other, err := r.prepare(linkConfig{watchers: "b:1"})
		require.NoError(t, err)
		require.NotSame(t, first, other)
		require.EqualValues(t, 2, o.made.Load())
		require.EqualValues(t, 0, o.running.Load(), "prepare starts nothing")

		h1, err := r.acquire(first)
		require.NoError(t, err)
		h2, err := r.acquire(second)
		require.NoError(t, err)
		synctest.Wait()
		require.EqualValues(t, 1, o.running.Load())
		require.Len(t, r.held(), 1)

		r.release(h1)
		r.release(h1)
		time.Sleep(2 * linger)
		require.EqualValues(t, 1, o.running.Load(), "the second holds it")
		r.release(h2)
		time.Sleep(linger - 1)
		require.EqualValues(t, 1, o.running.Load(), "it lingers")
		time.Sleep(2 * time.Nanosecond)
		synctest.Wait()
		require.EqualValues(t, 0, o.running.Load())
		require.Empty(t, r.links, "and so does what was only prepared")

		_, err = r.acquire(first)
		require.ErrorContains(t, err, "a:1")
	})
}

// A reload starts the new stanza before it stops the old one; the link must
// not notice. A stop and a start within linger are as good.
func TestRegistryReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := replaceOpen(t)
		r := newRegistry(linger)
		s, err := r.prepare(linkConfig{})
		require.NoError(t, err)
		old, err := r.acquire(s)
		require.NoError(t, err)
		for range 5 {
			r.beginReload()
			s2, err := r.prepare(linkConfig{})
			require.NoError(t, err)
			fresh, err := r.acquire(s2)
			require.NoError(t, err)
			r.endReload(false)
			r.release(old)
			old = fresh
			time.Sleep(2 * linger)
		}
		require.EqualValues(t, 1, o.made.Load())
		require.EqualValues(t, 1, o.running.Load())

		// The new Corefile names another watcher, starts, and fails.
		r.beginReload()
		r.beginReload()
		s3, err := r.prepare(linkConfig{watchers: "new:1"})
		require.NoError(t, err)
		_, err = r.acquire(s3)
		require.NoError(t, err)
		synctest.Wait()
		require.EqualValues(t, 2, o.running.Load())
		r.endReload(true)
		r.endReload(true)
		time.Sleep(2 * linger)
		synctest.Wait()
		require.EqualValues(t, 1, o.running.Load(), "nobody stops the stanzas of a reload that failed")

		r.release(old)
		require.NoError(t, r.closeIdle(context.Background()))
		require.EqualValues(t, 0, o.running.Load())
	})
}

func TestRegistryCloseWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		replaceOpen(t)
		stuck := make(chan struct{})
		open = func(linkConfig, *slog.Logger) (link, func(context.Context) error, error) {
			return newLink(discovery.NewTable()), func(context.Context) error { <-stuck; return nil }, nil
		}
		r := newRegistry(linger)
		s, err := r.prepare(linkConfig{})
		require.NoError(t, err)
		h, err := r.acquire(s)
		require.NoError(t, err)
		require.NoError(t, r.closeIdle(context.Background()), "it is held")
		r.release(h)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		require.ErrorIs(t, r.closeIdle(ctx), context.DeadlineExceeded)
		close(stuck)
	})
}

func TestRegistryOpenError(t *testing.T) {
	o := replaceOpen(t)
	o.err = errors.New("key west-agent.key: permission denied")
	r := newRegistry(linger)
	_, err := r.prepare(linkConfig{})
	require.ErrorIs(t, err, o.err)
	require.Empty(t, r.links)
}
