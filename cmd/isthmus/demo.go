package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/isthmus-dns/isthmus/cmd/isthmus/internal/demo"
	"github.com/isthmus-dns/isthmus/cmd/isthmus/internal/dns"
)

func newDemo() *cobra.Command {
	o := demo.Options{Version: moduleVersion()}
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Run three clusters on loopback, to try things out",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.Out = cmd.OutOrStdout()
			err := demo.Run(cmd.Context(), o)
			var corefile *dns.CorefileError // a port that is taken, too
			if errors.Is(err, demo.ErrRunning) && !errors.As(err, &corefile) {
				return err
			}
			return usage(err)
		},
	}
	cmd.Flags().StringVar(&o.Dir, "dir", "isthmus-demo", "folder for manifests, certificates and state; kept for the next time")
	return cmd
}
