package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/isthmus-dns/isthmus/cmd/isthmus/internal/api"
)

func newList() *cobra.Command {
	var address, format, namespace string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the services of the clusterset by cluster",
		Long: `List the services of the clusterset by cluster, as ready/total endpoints; "-"
where a cluster does not export the service.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := api.NewClient(address)
			if err != nil {
				return usage(err)
			}
			status, err := client.Status(cmd.Context())
			if err != nil {
				return err
			}
			services, err := client.Services(cmd.Context(), namespace)
			if err != nil {
				return err
			}
			return show(cmd.OutOrStdout(), format, services, func(w io.Writer) { serviceTable(w, status.Clusters, services) })
		},
	}
	addressFlag(cmd, &address)
	outputFlag(cmd, &format)
	cmd.Flags().StringVarP(&namespace, "namespace", "n", "", "only this namespace")
	return cmd
}

func serviceTable(w io.Writer, clusters []api.Cluster, services []api.Service) {
	head := []string{"NAMESPACE", "NAME"}
	for _, c := range clusters {
		head = append(head, c.Name)
	}
	row(w, head...)
	for _, s := range services {
		in := map[string]string{}
		for _, e := range s.Clusters {
			in[e.Cluster] = fmt.Sprintf("%d/%d", e.Ready, e.Total)
		}
		cells := []string{s.Namespace, s.Name}
		for _, c := range clusters {
			cells = append(cells, in[c.Name])
		}
		row(w, cells...)
	}
}
