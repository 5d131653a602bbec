package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/isthmus-dns/isthmus/cmd/isthmus/internal/dns"
	"github.com/isthmus-dns/isthmus/cmd/isthmus/internal/lifecycle"
)

func newRun() *cobra.Command {
	return &cobra.Command{
		Use:   "run [-c watcher.yaml] [-conf Corefile] [-log-level LEVEL]",
		Short: "Run a watcher and an agent in one process",
		Long: `Run a watcher and an agent in one process, for small sites and tests. The
Corefile names this watcher's own address, as it would name another's.`,
		DisableFlagParsing: true, // as for dns
		RunE: func(cmd *cobra.Command, args []string) error {
			set := flag.NewFlagSet("isthmus run", flag.ContinueOnError)
			set.SetOutput(io.Discard)
			file := set.String("c", "watcher.yaml", "the watcher's configuration")
			set.StringVar(file, "config", "watcher.yaml", "the same")
			var level logLevel
			set.Var(&level, "log-level", logLevelUsage)
			o := dns.Options{Version: moduleVersion()}
			dnsFlags(set, &o)
			switch err := set.Parse(args); {
			case errors.Is(err, flag.ErrHelp):
				return cmd.Help()
			case err != nil:
				return usage(fmt.Errorf("run: %w; see `isthmus run -h`", err))
			case set.NArg() > 0:
				return usage(fmt.Errorf("run: unexpected argument %q; see `isthmus run -h`", set.Arg(0)))
			}
			return runBoth(cmd.Context(), *file, slog.Level(level), o)
		},
	}
}

// runBoth checks both configurations before either half starts.
func runBoth(ctx context.Context, file string, level slog.Level, o dns.Options) error {
	if _, err := dns.Check(o.File); err != nil {
		return usage(err)
	}
	w, err := newWatcher(file, level)
	if err != nil {
		return err
	}
	return lifecycle.Run(
		ctx,
		lifecycle.Part{Name: "watcher", Run: func(ctx context.Context) error { return runWatcher(ctx, w) }},
		lifecycle.Part{Name: "dns", Run: func(ctx context.Context) error { return runDNS(ctx, o) }},
	)
}
