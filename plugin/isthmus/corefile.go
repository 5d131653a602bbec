package isthmus

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/coredns/caddy"
	"github.com/coredns/caddy/caddyfile"
)

// surroundings are the Corefile as a stanza of ours sees it: CoreDNS shows a
// plugin that another one is there (dnsserver.Config.Handler), but neither its
// arguments nor its line, nor other server blocks.
type surroundings struct {
	file   string // for tokens that name none; an import's do
	own    caddyfile.ServerBlock
	others []caddyfile.ServerBlock
	// check is the examination that this is part of, nil when a server starts.
	check *examination
	// last tells whether no plugin comes after ours; known when all are set up.
	last func() bool
}

// instanceMark is a key of an instance's storage, to find the instance by.
type instanceMark struct{}

// lookAround reads the Corefile that is being set up or checked. The result has
// no blocks where neither is so.
func lookAround(c *caddy.Controller) surroundings {
	s := surroundings{file: c.File()}
	input := instanceCorefile(c)
	if input == nil {
		if s.check = checking.Load(); s.check == nil {
			return s
		}
		input = s.check.input
	}
	blocks, err := caddyfile.Parse(input.Path(), bytes.NewReader(input.Body()), nil)
	if err != nil || c.ServerBlockIndex >= len(blocks) { // CoreDNS has parsed the same before
		return s
	}
	s.own = blocks[c.ServerBlockIndex]
	s.others = slices.Delete(blocks, c.ServerBlockIndex, c.ServerBlockIndex+1)
	return s
}

// instanceCorefile finds the text that a server is set up from, nil for none.
func instanceCorefile(c *caddy.Controller) caddy.Input {
	mark := new(surroundings)
	c.Set(instanceMark{}, mark)
	for _, i := range caddy.Instances() {
		i.StorageMu.RLock()
		found := i.Storage[instanceMark{}] == mark
		i.StorageMu.RUnlock()
		if found {
			return i.Caddyfile()
		}
	}
	return nil
}

// has tells whether a plugin stands in the stanza's server block.
func (s *surroundings) has(directive string) bool { return len(s.own.Tokens[directive]) > 0 }

// directive reads a plugin's stanza in the same server block; its first token
// is the plugin's name.
func (s *surroundings) directive(name string) caddyfile.Dispenser {
	return caddyfile.NewDispenserTokens(s.file, s.own.Tokens[name])
}

// at is where a plugin's stanza begins: "FILE:LINE".
func (s *surroundings) at(directive string) string {
	d := s.directive(directive)
	d.Next()
	return fmt.Sprintf("%s:%d", d.File(), d.Line())
}

// keys writes origins one after the other.
func keys(all []Origin) string {
	var list []string
	for _, o := range all {
		list = append(list, o.String())
	}
	return strings.Join(list, " ")
}
