package locality

import (
	"errors"
	"fmt"
	"strings"

	"github.com/isthmus-dns/isthmus/discovery"
)

// Pattern matches localities; an empty field matches all. It is Istio's: "*",
// "region", "region/*", "region/zone", "region/zone/*", "region/zone/subzone".
type Pattern struct {
	Region, Zone, Subzone string
}

var errPatternForm = errors.New("want *, REGION/*, REGION/ZONE/* or REGION/ZONE/SUBZONE")

// ParsePattern reads a pattern. A wildcard is a whole segment and the last one;
// "region" is the same as "region/*".
func ParsePattern(s string) (Pattern, error) {
	segments := strings.Split(s, "/")
	if n := len(segments); segments[n-1] == "*" {
		segments = segments[:n-1]
		if n > 3 {
			return Pattern{}, fmt.Errorf("has %d segments: %w", n, errPatternForm)
		}
		if n == 1 {
			return Pattern{}, nil
		}
	}
	for _, part := range segments {
		switch {
		case part == "":
			return Pattern{}, fmt.Errorf("has an empty segment: %w", errPatternForm)
		case part == "*":
			return Pattern{}, fmt.Errorf("has a wildcard before the last segment: %w", errPatternForm)
		case strings.Contains(part, "*"):
			return Pattern{}, fmt.Errorf("segment %s: a wildcard is a whole segment: %w", quote(part), errPatternForm)
		}
	}
	l, err := discovery.ParseLocality(strings.Join(segments, "/"))
	if err != nil {
		return Pattern{}, err
	}
	return Pattern(l), nil
}

// Match tells whether a locality is one of the pattern's. What is unknown
// matches only a wildcard.
func (p Pattern) Match(l discovery.Locality) bool {
	return (p.Region == "" || p.Region == l.Region) && (p.Zone == "" || p.Zone == l.Zone) &&
		(p.Subzone == "" || p.Subzone == l.Subzone)
}

// specific is the number of segments that are no wildcard. Of several patterns
// that match, the most specific one decides; two of one length can't both
// match.
func (p Pattern) specific() int {
	switch {
	case p.Region == "":
		return 0
	case p.Zone == "":
		return 1
	case p.Subzone == "":
		return 2
	}
	return 3
}

// glob tells whether a word matches a pattern in which each '*' stands for any
// letters, none included. Its time is at most the product of the two lengths.
func glob(pattern, word string) bool {
	star, mark := -1, 0
	p, w := 0, 0
	for w < len(word) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, w
			p++
		case p < len(pattern) && pattern[p] == word[w]:
			p++
			w++
		case star >= 0:
			mark++
			p, w = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}
