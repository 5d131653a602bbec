package isthmus

import (
	"sync"
	"sync/atomic"

	"github.com/coredns/caddy"
)

// examination is a Corefile that is only checked. Caddy keeps no instance of
// such a one that a plugin could find its text by, and calls no OnStartup.
type examination struct {
	input   caddy.Input
	remarks []func() []string // each stanza's, for when all plugins are set up
}

// checking is the one that is going on, nil for none. Controllers don't tell
// whose they are, so there is one at a time.
var (
	checks   sync.Mutex
	checking atomic.Pointer[examination]
)

// Check sets up the plugins of a Corefile without starting anything, nor
// listening. The remarks are what our stanzas would warn of at the start, each
// "FILE:LINE: TEXT".
func Check(input caddy.Input) (remarks []string, err error) {
	checks.Lock()
	defer checks.Unlock()
	e := &examination{input: input}
	checking.Store(e)
	defer checking.Store(nil)
	if err := caddy.ValidateAndExecuteDirectives(input, nil, true); err != nil {
		return nil, err
	}
	for _, of := range e.remarks {
		remarks = append(remarks, of()...)
	}
	return remarks, nil
}
