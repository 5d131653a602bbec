package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/isthmus-dns/isthmus/cmd/isthmus/internal/config"
	"github.com/isthmus-dns/isthmus/cmd/isthmus/internal/watch"
)

func newWatch() *cobra.Command {
	var file string
	var level logLevel
	cmd := &cobra.Command{
		Use:   "watch",
		Short: "Run a watcher: publish this cluster's services and follow the others'",
		Long: `Run a watcher: publish this cluster's services and follow the others'.

When the configuration changes, routing, health, import, gateways, gossip.join
and locality take effect within a second; the log and "isthmus status" name the
fields that need a restart. A file with a mistake changes nothing. SIGHUP reads
it at once.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			w, err := newWatcher(file, slog.Level(level))
			if err != nil {
				return err
			}
			return runWatcher(cmd.Context(), w)
		},
	}
	configFlag(cmd, &file)
	cmd.Flags().Var(&level, "log-level", logLevelUsage)
	return cmd
}

func configFlag(cmd *cobra.Command, file *string) {
	cmd.Flags().StringVarP(file, "config", "c", "watcher.yaml", "the watcher's configuration")
}

// newWatcher reads a configuration and takes what it names; whatever is wrong
// there is the user's to mend.
func newWatcher(file string, level slog.Level) (*watch.Watcher, error) {
	c, err := config.Load(file)
	if err != nil {
		return nil, usage(err)
	}
	w, err := watch.New(c, watch.Options{Logger: newLogger(level), Version: moduleVersion(), Reload: hangups()})
	return w, usage(err)
}

// hangups ask a watcher to read its configuration again, as they do many a
// server; it does so by itself when the file changes.
func hangups() <-chan os.Signal {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGHUP)
	return c
}

// runWatcher lives until ctx ends. That another cluster has our name shows only
// when we meet its peers, but is a mistake in the configuration all the same.
func runWatcher(ctx context.Context, w *watch.Watcher) error {
	err := w.Run(ctx)
	if watch.IsConfig(err) {
		return usage(err)
	}
	return err
}

// newLogger logs JSON to stderr, as programs that run in Pods do.
func newLogger(level slog.Level) *slog.Logger {
	return slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
}
