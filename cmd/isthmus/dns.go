package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/isthmus-dns/isthmus/cmd/isthmus/internal/dns"
)

func newDNS() *cobra.Command {
	return &cobra.Command{
		Use:   "dns [-conf Corefile] [-dns.port PORT] [-pidfile FILE] [-quiet] [-log-format text|json] [-plugins] [-version]",
		Short: "Run an agent: CoreDNS with the isthmus plugin",
		Long: `Run an agent: CoreDNS with the isthmus plugin. The flags are CoreDNS's own.
SIGUSR1 reads the Corefile again, SIGHUP does nothing; SIGTERM and SIGINT stop
gracefully.`,
		// CoreDNS's flags are long ones with a single dash, which pflag would
		// read as a row of short ones.
		DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			o, done, err := parseDNS(cmd, args)
			if done || err != nil {
				return err
			}
			return runDNS(cmd.Context(), o)
		},
	}
}

// parseDNS reads CoreDNS's flags; done tells that one of them asked only for
// something to be printed, which it was.
func parseDNS(cmd *cobra.Command, args []string) (o dns.Options, done bool, err error) {
	set := flag.NewFlagSet("isthmus dns", flag.ContinueOnError)
	set.SetOutput(io.Discard)
	dnsFlags(set, &o)
	plugins := set.Bool("plugins", false, "list the plugins")
	version := set.Bool("version", false, "show the version")
	logFormat := set.String("log-format", "text", "format of the log: text or json")
	switch err := set.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return o, true, cmd.Help()
	case err != nil:
		return o, true, usage(fmt.Errorf("dns: %w; see `isthmus dns -h`", err))
	case set.NArg() > 0:
		return o, true, usage(fmt.Errorf("dns: unexpected argument %q; see `isthmus dns -h`", set.Arg(0)))
	case *logFormat != "text" && *logFormat != "json":
		return o, true, usage(fmt.Errorf("dns: -log-format %q: want text or json", *logFormat))
	case *plugins:
		_, err := fmt.Fprint(cmd.OutOrStdout(), dns.Plugins())
		return o, true, err
	case *version:
		_, err := fmt.Fprintln(cmd.OutOrStdout(), versionLine())
		return o, true, err
	}
	o.JSON = *logFormat == "json"
	o.Version = moduleVersion()
	return o, false, nil
}

func dnsFlags(set *flag.FlagSet, o *dns.Options) {
	set.StringVar(&o.File, "conf", "Corefile", "the Corefile")
	set.StringVar(&o.Port, "dns.port", "", "port of server blocks that name none")
	set.StringVar(&o.Port, "p", "", "the same")
	set.StringVar(&o.PidFile, "pidfile", "", "file for the process id")
	set.BoolVar(&o.Quiet, "quiet", false, "say nothing at the start")
}

// runDNS serves until ctx ends. A Corefile that can't be served is the user's
// to mend.
func runDNS(ctx context.Context, o dns.Options) error {
	reload := make(chan os.Signal, 1)
	signal.Notify(reload, syscall.SIGUSR1)
	defer signal.Stop(reload)
	// As with CoreDNS, SIGHUP does nothing: it is sent to many a server to make
	// it reload. Ignore would keep it from a watcher in this process, too.
	nobody := make(chan os.Signal, 1)
	signal.Notify(nobody, syscall.SIGHUP)
	defer signal.Stop(nobody)
	o.Reload = reload
	err := dns.Run(ctx, o)
	var wrong *dns.CorefileError
	if errors.As(err, &wrong) {
		return usage(err)
	}
	return err
}
