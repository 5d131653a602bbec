package gossip

import (
	"fmt"
	"slices"
)

// SetSeeds replaces the seeds that Config.Join gave, and tries the new ones at
// once. Whoever came through one that is gone stays a member: seeds say whom to
// ask, not who belongs. An error, of a seed that is no host:port, changes
// nothing. It may be called at any time, from any goroutine.
func (p *Pool) SetSeeds(seeds []string) error {
	if err := validSeeds(seeds); err != nil {
		return err
	}
	p.setSeeds(seeds)
	select {
	case p.rejoin <- struct{}{}:
	default:
	}
	return nil
}

func (p *Pool) setSeeds(seeds []string) {
	seeds = slices.Clone(seeds)
	p.seeds.Store(&seeds)
}

func validSeeds(seeds []string) error {
	for _, seed := range seeds {
		if _, _, err := splitHostPort(seed); err != nil {
			return fmt.Errorf("seed %q: %w", seed, err)
		}
	}
	return nil
}
