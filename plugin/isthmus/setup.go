package isthmus

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
	clog "github.com/coredns/coredns/plugin/pkg/log"
)

// stopTimeout is how long the end of the process waits for the links: the
// snapshot is written then. Kubernetes gives a Pod 30 s, CoreDNS's lameduck
// takes 8 of them in deploy/.
const stopTimeout = 10 * time.Second

func init() { plugin.Register(pluginName, setup) }

func setup(c *caddy.Controller) error {
	if dnsserver.GetConfig(c).Debug {
		clog.D.Set() // CoreDNS does so only when the copy on disk has been read
	}
	s, err := parse(c)
	if err != nil {
		return plugin.Error(pluginName, err)
	}
	around := lookAround(c)
	if err := around.refuse(); err != nil {
		return plugin.Error(pluginName, err)
	}
	shared, err := links.prepare(s.link)
	if err != nil {
		return plugin.Error(pluginName, c.Errf("%v", err))
	}
	p := &Isthmus{
		zones:   s.zones,
		ttl:     s.ttl,
		fall:    s.fall,
		view:    links.viewpoint(shared, s.locality),
		metrics: defaultMetrics(),
		random:  rand.Uint64,
	}
	config := dnsserver.GetConfig(c)
	place := len(config.Plugin)
	around.last = func() bool { return len(config.Plugin) == place+1 }
	if around.check != nil {
		around.check.remarks = append(around.check.remarks, func() []string { return around.remarks(s) })
	}
	config.AddPlugin(func(next plugin.Handler) plugin.Handler {
		p.Next = next
		return p
	})
	hold(c, shared, func(h *holder) {
		if s.zones.haveReverse() {
			links.wantReverse(h)
			shared.reverse.prime()
		}
		// All plugins of the server block are there now, also those after us.
		p.server = boundAddrs(config.ListenHosts)
		p.told = config.Handler("metadata") != nil
		for _, remark := range links.news(around.remarks(s)) {
			log.Warning(remark)
		}
		if s.link.insecure {
			log.Warningf("Link to watchers %s is not encrypted and proves nobody's identity (insecure)", s.link.watchers)
		}
	})
	return nil
}

// hold keeps the link for as long as the stanza serves. On a reload CoreDNS
// starts the new stanzas, then stops the old ones; if the new ones fail, it
// calls the old ones' OnRestartFailed and nothing of the new ones'.
func hold(c *caddy.Controller, shared *sharedLink, started func(*holder)) {
	var h *holder
	c.OnStartup(func() (err error) {
		if h, err = links.acquire(shared); err != nil {
			return plugin.Error(pluginName, err)
		}
		started(h)
		return nil
	})
	c.OnRestart(func() error {
		links.beginReload()
		return nil
	})
	c.OnRestartFailed(func() error {
		links.endReload(true)
		return nil
	})
	c.OnShutdown(func() error {
		links.endReload(false)
		if h != nil {
			links.release(h)
		}
		return nil
	})
	c.OnFinalShutdown(func() error {
		ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
		defer cancel()
		if err := links.closeIdle(ctx); err != nil {
			return plugin.Error(pluginName, err)
		}
		return nil
	})
}
