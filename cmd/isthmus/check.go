package main

import (
	"errors"
	"flag"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/isthmus-dns/isthmus/cmd/isthmus/internal/config"
	"github.com/isthmus-dns/isthmus/cmd/isthmus/internal/dns"
	"github.com/isthmus-dns/isthmus/cmd/isthmus/internal/watch"
)

func newCheck() *cobra.Command {
	return &cobra.Command{
		Use:   "check [-c watcher.yaml] [-conf Corefile] [-manifests DIR]",
		Short: "Check configurations without starting anything",
		Long: `Check a watcher's configuration with the files it names, a Corefile, and a
folder of manifests, without starting anything or taking a port. Every problem
is one line; the exit code is 2 if there is one. What works, but hardly as it
is meant, is a line that begins with "isthmus: warning:".`,
		DisableFlagParsing: true, // -conf is spelt as CoreDNS's
		RunE: func(cmd *cobra.Command, args []string) error {
			set := flag.NewFlagSet("isthmus check", flag.ContinueOnError)
			set.SetOutput(io.Discard)
			file := set.String("c", "", "a watcher's configuration")
			corefile := set.String("conf", "", "a Corefile")
			manifests := set.String("manifests", "", "a folder of manifests")
			switch err := set.Parse(args); {
			case errors.Is(err, flag.ErrHelp):
				return cmd.Help()
			case err != nil:
				return usage(fmt.Errorf("check: %w; see `isthmus check -h`", err))
			case set.NArg() > 0:
				return usage(fmt.Errorf("check: unexpected argument %q; see `isthmus check -h`", set.Arg(0)))
			case *file == "" && *corefile == "" && *manifests == "":
				return usage(errors.New("check: nothing to check: give -c, -conf or -manifests"))
			}
			return usage(check(cmd.OutOrStdout(), cmd.ErrOrStderr(), *file, *corefile, *manifests))
		},
	}
}

// check looks at all that is named and says "ok" of what is. Warnings go to
// remarks.
func check(out, remarks io.Writer, file, corefile, manifests string) error {
	var problems []error
	for _, c := range []struct {
		name  string
		check func() error
	}{
		{file, func() error {
			c, err := config.Load(file)
			if err != nil {
				return err
			}
			return watch.Check(c)
		}},
		{corefile, func() error {
			all, err := dns.Check(corefile)
			for _, remark := range all {
				fmt.Fprintf(remarks, "isthmus: warning: %s\n", remark)
			}
			return err
		}},
		{manifests, func() error { return watch.CheckManifests(manifests) }},
	} {
		if c.name == "" {
			continue
		}
		if err := c.check(); err != nil {
			problems = append(problems, err)
			continue
		}
		if _, err := fmt.Fprintln(out, c.name+": ok"); err != nil {
			return err
		}
	}
	return errors.Join(problems...)
}
