package main

import (
	"github.com/spf13/cobra"
)

// usageError marks what the user mends on the command line or in a file.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }

func (e *usageError) Unwrap() error { return e.err }

// usage makes an error end the process with exit code 2; nil stays nil.
func usage(err error) error {
	if err == nil {
		return nil
	}
	return &usageError{err}
}

// noArgs refuses arguments with a usage error.
func noArgs(cmd *cobra.Command, args []string) error { return usage(cobra.NoArgs(cmd, args)) }

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "isthmus",
		Short: "Cross-cluster DNS and service discovery for Kubernetes",
		Long: `Isthmus answers *.global names across Kubernetes clusters whose Pod networks
cannot reach each other, with the address of a gateway that you can reach.

Try "isthmus demo": three clusters on loopback.`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          noArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usage(err) })
	root.AddCommand(
		newWatch(), newDNS(), newRun(), newDemo(),
		newCheck(), newStatus(), newList(), newExplain(), newRetire(), newPKI(), newVersion(),
	)
	return root
}
