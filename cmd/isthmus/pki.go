package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/isthmus-dns/isthmus/cmd/isthmus/internal/pki"
)

func newPKI() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "pki",
		Short: "Make a root and certificates for a clusterset",
		Long: `Make a root and certificates for a clusterset, for sites without SPIRE or
cert-manager. The root's key signs every cluster's certificates: keep it away
from all of them.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newPKIInit(), newPKIIssue(), newPKISecrets())
	return cmd
}

func newPKIInit() *cobra.Command {
	var dir, clusterset string
	var force bool
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Make the root: ca.crt and ca.key",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f := pki.Folder(dir)
			if err := f.Init(clusterset, force); err != nil {
				return usage(err)
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s\n%s\n", f.CA(), f.CAKey())
			return err
		},
	}
	folderFlag(cmd, &dir)
	required(cmd, &clusterset, "clusterset", "name of the clusterset, as in watcher.yaml")
	cmd.Flags().BoolVar(&force, "force", false, "replace a root that is there: what it issued is worthless then")
	return cmd
}

func newPKIIssue() *cobra.Command {
	var dir, cluster string
	var days int
	cmd := &cobra.Command{
		Use:   "issue",
		Short: "Make or renew a cluster's certificates: NAME-watcher and NAME-agent, .crt and .key",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			// RFC 5280's dates end in 9999; nobody means more than a century.
			if days < 1 || days > 36_500 {
				return usage(fmt.Errorf("--days %d: want 1 to 36500", days))
			}
			files, err := pki.Folder(dir).Issue(cluster, time.Duration(days)*24*time.Hour)
			for _, file := range files {
				_, _ = fmt.Fprintln(cmd.OutOrStdout(), file)
			}
			return usage(err)
		},
	}
	folderFlag(cmd, &dir)
	required(cmd, &cluster, "cluster", "name of the cluster, as in watcher.yaml")
	cmd.Flags().IntVar(&days, "days", pki.DefaultDays, "how long the certificates are good for")
	return cmd
}

func newPKISecrets() *cobra.Command {
	var dir, cluster, namespace string
	cmd := &cobra.Command{
		Use:   "secrets",
		Short: "Print a cluster's Secrets for kubectl apply -f -",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			text, err := pki.Folder(dir).Secrets(cluster, namespace)
			if err != nil {
				return usage(err)
			}
			_, err = cmd.OutOrStdout().Write(text)
			return err
		},
	}
	folderFlag(cmd, &dir)
	required(cmd, &cluster, "cluster", "name of the cluster")
	cmd.Flags().StringVar(&namespace, "namespace", "isthmus", "namespace of the Secrets")
	return cmd
}

func folderFlag(cmd *cobra.Command, dir *string) {
	cmd.Flags().StringVar(dir, "dir", "pki", "folder of the root and the certificates")
}

// required adds a flag that must be given: cobra's own check has an error
// without a type, which could not be told from a failure.
func required(cmd *cobra.Command, to *string, name, text string) {
	cmd.Flags().StringVar(to, name, "", text+" (required)")
	cmd.PreRunE = func(cmd *cobra.Command, _ []string) error {
		if *to == "" {
			return usage(fmt.Errorf("%s: --%s is missing: %s", cmd.CommandPath(), name, text))
		}
		return nil
	}
}
