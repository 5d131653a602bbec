package locality_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/plugin/isthmus/locality"
)

// read makes a candidate of a line:
//
//	NAME LOCALITY READY/TOTAL [up|down|silent|frozen|drained|endpoint|REACH|rtt=TIME|band=N|weight=N]...
//
// The viewer's cluster is reached by service, others by gateway.
func read(t testing.TB, line string) locality.Candidate {
	t.Helper()
	fields := strings.Fields(line)
	where, err := discovery.ParseLocality(strings.Trim(fields[1], "-"))
	require.NoError(t, err)
	c := locality.Candidate{Cluster: fields[0], Locality: where, Reach: locality.ByGateway}
	if c.Cluster == viewer.Cluster {
		c.Reach = locality.ByService
	}
	_, err = fmt.Sscanf(fields[2], "%d/%d", &c.Ready, &c.Total)
	require.NoError(t, err)
	for _, option := range fields[3:] {
		word, value, _ := strings.Cut(option, "=")
		switch word {
		case "up":
			c.Gateway = locality.GatewayUp
		case "down":
			c.Gateway = locality.GatewayDown
		case "silent":
			c.Freshness = locality.Silent
		case "frozen":
			c.Freshness = locality.Frozen
		case "drained":
			c.Drained = true
		case "endpoint":
			c.Reach = locality.ByEndpoint
		case "no-gateway":
			c.Reach = locality.NoGateway
		case "no-address":
			c.Reach = locality.NoAddress
		case "unresolved":
			c.Reach = locality.Unresolved
		case "no-host":
			c.Reach = locality.NoHost
		case "refused":
			c.Reach = locality.Refused
		case "rtt":
			c.RTT, err = time.ParseDuration(value)
			require.NoError(t, err)
		case "band", "weight":
			n, err := strconv.ParseUint(value, 10, 32)
			require.NoError(t, err)
			if word == "weight" {
				c.Weight = uint32(n)
			} else {
				c.Band = locality.Band(n)
			}
		default:
			require.Fail(t, "unknown option", option)
		}
	}
	return c
}

// readAll makes candidates of lines.
func readAll(t testing.TB, lines string) []locality.Candidate {
	t.Helper()
	var candidates []locality.Candidate
	for line := range strings.Lines(lines) {
		if strings.TrimSpace(line) != "" {
			candidates = append(candidates, read(t, line))
		}
	}
	return candidates
}

// policyOf is the policy that rules make for all services.
func policyOf(t testing.TB, rules locality.Rules) locality.Policy {
	t.Helper()
	p, err := locality.Compile(locality.Routing{Rules: rules})
	require.NoError(t, err)
	return p.For("any.service")
}

func shares(p *locality.Plan) []float64 {
	shares := make([]float64, len(p.Verdicts))
	for i, v := range p.Verdicts {
		shares[i] = v.Share
	}
	return shares
}
