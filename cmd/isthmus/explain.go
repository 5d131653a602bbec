package main

import (
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/isthmus-dns/isthmus/cmd/isthmus/internal/api"
	"github.com/isthmus-dns/isthmus/plugin/isthmus"
	"github.com/isthmus-dns/isthmus/plugin/isthmus/locality"
)

func newExplain() *cobra.Command {
	var address, format, client string
	var q isthmus.Question
	cmd := &cobra.Command{
		Use:   "explain NAME",
		Short: "Explain to which clusters a service's clients are sent",
		Long: `Explain to which clusters the clients of a service are sent, each with the rule
that let it in or keeps it out, as its watcher sees it now. NAME is NAME.NAMESPACE,
with or without a zone, or an alias.

What if: --without looks as if a cluster were drained, --from from another place.
Round-trip times are those from the watcher's own cluster, so from elsewhere there
are none.`,
		Example: `  isthmus explain user-service.production
  isthmus explain user-service.production.global --without east
  isthmus explain user-service.production --from us-east1/us-east1-b -o json`,
		Args: func(cmd *cobra.Command, args []string) error { return usage(cobra.ExactArgs(1)(cmd, args)) },
		RunE: func(cmd *cobra.Command, args []string) error {
			q.Name = args[0]
			if client != "" {
				var err error
				if q.Client, err = netip.ParseAddr(client); err != nil {
					return usage(fmt.Errorf("--client %q: want an IP address", client))
				}
			}
			asked, err := api.NewClient(address)
			if err != nil {
				return usage(err)
			}
			e, err := asked.Explain(cmd.Context(), q)
			if err != nil {
				return err
			}
			return show(cmd.OutOrStdout(), format, e, func(w io.Writer) { explanationTable(w, e) })
		},
	}
	addressFlag(cmd, &address)
	outputFlag(cmd, &format)
	cmd.Flags().StringVar(&q.From, "from", "", "where the client is: a cluster, or REGION[/ZONE[/SUBZONE]] (default: the watcher's cluster)")
	cmd.Flags().StringVar(&client, "client", "", "the client's address, which decides with affinity: client")
	cmd.Flags().StringArrayVar(&q.Without, "without", nil, "a cluster that is taken to be drained; may be repeated")
	return cmd
}

// explanationTable has the fields of the plugin's _why names in their form.
func explanationTable(w io.Writer, e *isthmus.Explanation) {
	_, _ = fmt.Fprintf(w, "%s for clients in %s\n", e.Service, place(e.Viewer))
	if len(e.Without) > 0 {
		_, _ = fmt.Fprintf(w, "without %s\n", strings.Join(e.Without, ", "))
	}
	if e.Viewer.Elsewhere {
		_, _ = fmt.Fprintln(w, "by the policy and the checks of the watcher's own cluster, without its round-trip times")
	}
	if e.Client != nil {
		explainClient(w, e)
	}
	_, _ = fmt.Fprintln(w)
	row(w, "CLUSTER", "STATE", "SHARE", "TIER", "WEIGHT", "READY", "WAY", "UP", "RTT", "HEARD", "AGE", "RULE")
	for i := range e.Candidates {
		c := &e.Candidates[i]
		tier, share := "", ""
		if c.State != "out" {
			tier = fmt.Sprintf("%d %s", c.Priority, c.Tier)
		}
		if c.State == "in" {
			share = strconv.FormatFloat(c.Share*100, 'g', 3, 64) + "%"
		}
		rtt := locality.RoundTrip(time.Duration(c.RTTSeconds * float64(time.Second)))
		row(w, c.Cluster, c.State, share, tier, strconv.FormatUint(c.Weight, 10),
			fmt.Sprintf("%d/%d", c.Ready, c.Total), c.Way, c.Gateway, rtt, c.Heard, c.Age, c.Rule)
	}
}

// explainClient says what the client is answered.
func explainClient(w io.Writer, e *isthmus.Explanation) {
	switch c := e.Client; {
	case !e.Affinity:
		_, _ = fmt.Fprintf(w, "client %s gets any of those that are in, by their shares: there is no affinity\n", c.Address)
	case c.Cluster == "":
		_, _ = fmt.Fprintf(w, "client %s gets none: none is in\n", c.Address)
	case c.ClusterIPv6 != "":
		_, _ = fmt.Fprintf(w, "client %s keeps %s, and %s for IPv6 (affinity)\n", c.Address, c.Cluster, c.ClusterIPv6)
	default:
		_, _ = fmt.Fprintf(w, "client %s keeps %s (affinity)\n", c.Address, c.Cluster)
	}
}

// place is where a client is, in words.
func place(v isthmus.Viewer) string {
	switch {
	case v.Cluster == "":
		return v.Locality + " and no cluster"
	case v.Locality == "":
		return v.Cluster
	}
	return v.Cluster + " (" + v.Locality + ")"
}
