package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/isthmus-dns/isthmus/cmd/isthmus/internal/api"
)

func newStatus() *cobra.Command {
	var address, format string
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show what a watcher knows of its clusterset",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := api.NewClient(address)
			if err != nil {
				return usage(err)
			}
			s, err := client.Status(cmd.Context())
			if err != nil {
				return err
			}
			return show(cmd.OutOrStdout(), format, s, func(w io.Writer) { statusTable(w, s) })
		},
	}
	addressFlag(cmd, &address)
	outputFlag(cmd, &format)
	return cmd
}

func addressFlag(cmd *cobra.Command, address *string) {
	cmd.Flags().StringVar(address, "addr", "http://127.0.0.1:8080", "the watcher's HTTP address")
}

// statusTable has the fields of the plugin's _clusters names in their form.
func statusTable(w io.Writer, s api.Status) {
	_, _ = fmt.Fprintf(w, "%s of %s, version %s, since %s\nready: %t, publishes: %t\n",
		s.Watcher, s.Clusterset, s.Version, s.Started.Format(timeFormat), s.Ready, s.Leading)
	statusConfig(w, s.Config)
	statusOverlaps(w, s.Overlaps)
	_, _ = fmt.Fprintln(w)
	row(w, "CLUSTER", "LOCALITY", "NETWORK", "EPOCH.SEQ", "AGE", "SERVICES", "GATEWAYS", "RTT", "WATCHERS")
	watchers := map[string]int{}
	for _, m := range s.Members {
		watchers[m.Cluster]++
	}
	for _, c := range s.Clusters {
		row(w, c.Name, c.Locality, c.Network, fmt.Sprintf("%d.%d", c.Epoch, c.Seq), age(c),
			strconv.Itoa(c.Services), gatewaysUp(c), rtt(c), strconv.Itoa(watchers[c.Name]))
		delete(watchers, c.Name)
	}
	// A cluster with watchers and no part: import denies it, or the part is
	// still to come.
	for _, name := range slices.Sorted(maps.Keys(watchers)) {
		row(w, name, "", "", "", "", "", "", "", strconv.Itoa(watchers[name]))
	}
	_, _ = fmt.Fprintln(w)
	row(w, "WATCHER", "ADDRESS")
	for _, m := range s.Members {
		row(w, m.Name, m.Address)
	}
}

const timeFormat = "2006-01-02 15:04:05 MST"

// statusConfig shows what is in force, and what is not of the file as it is now.
// A watcher of an earlier version doesn't tell.
func statusConfig(w io.Writer, c api.Config) {
	if c.Loaded.IsZero() {
		return
	}
	_, _ = fmt.Fprintf(w, "routing: %s\ngateway checks: %s\nconfiguration: of %s\n", c.Routing, c.Health, c.Loaded.Format(timeFormat))
	for _, e := range c.Errors {
		_, _ = fmt.Fprintf(w, "  not taken: %s\n", e)
	}
	if len(c.Restart) > 0 {
		_, _ = fmt.Fprintf(w, "  needs a restart: %s\n", strings.Join(c.Restart, ", "))
	}
}

// maxOverlapLines are what a person reads; all that is listed is in the JSON.
const maxOverlapLines = 10

// statusOverlaps shows clusters that should not be in one network.
func statusOverlaps(w io.Writer, o *api.Overlaps) {
	if o == nil {
		return
	}
	_, _ = fmt.Fprintf(w, "clusters of one network with the same addresses: %d, give them different networks in watcher.yaml, or none\n", o.Pairs)
	shown := o.Listed[:min(len(o.Listed), maxOverlapLines)]
	for _, pair := range shown {
		one, other := pair.Claims[0], pair.Claims[1]
		_, _ = fmt.Fprintf(w, "  network %s: %s (%s %s) and %s (%s %s)\n", pair.Network,
			one.Cluster, one.Use, one.Prefix, other.Cluster, other.Use, other.Prefix)
	}
	if more := o.Pairs - len(shown); more > 0 {
		_, _ = fmt.Fprintf(w, "  and %d more\n", more)
	}
}

// age is the time since a cluster was last heard of, in the form of _clusters.
func age(c api.Cluster) string {
	if c.AgeSeconds == nil {
		return "unknown"
	}
	return (time.Duration(*c.AgeSeconds) * time.Second).String()
}

// gatewaysUp is how many of a cluster's gateways are up, in the form of _clusters.
// Those that are unknown besides are named, as they are answered with, too.
func gatewaysUp(c api.Cluster) string {
	total := "/" + strconv.Itoa(c.Gateways)
	switch {
	case c.Checked == nil || c.Checked.Unknown == c.Gateways:
		return "unknown" + total
	case c.Checked.Unknown > 0:
		return strconv.Itoa(c.Checked.Up) + total + ",unknown=" + strconv.Itoa(c.Checked.Unknown)
	}
	return strconv.Itoa(c.Checked.Up) + total
}

// rtt is the round-trip time to a cluster's nearest gateway, "" if there is none.
func rtt(c api.Cluster) string {
	if c.Checked == nil || c.Checked.RTTSeconds == 0 {
		return ""
	}
	d := time.Duration(c.Checked.RTTSeconds * float64(time.Second))
	if d < 10*time.Millisecond {
		return d.Round(10 * time.Microsecond).String()
	}
	return d.Round(100 * time.Microsecond).String()
}
