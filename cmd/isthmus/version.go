package main

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is what "isthmus version" tells programs.
type version struct {
	Isthmus  string `json:"isthmus"`
	CoreDNS  string `json:"coredns"`
	Go       string `json:"go"`
	Platform string `json:"platform"` // GOOS/GOARCH
}

func newVersion() *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Show the versions of isthmus, CoreDNS and Go",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			v := version{
				Isthmus: moduleVersion(), CoreDNS: dependency("github.com/coredns/coredns"),
				Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH,
			}
			return show(cmd.OutOrStdout(), format, v, func(w io.Writer) { _, _ = fmt.Fprintln(w, versionLine()) })
		},
	}
	outputFlag(cmd, &format)
	return cmd
}

// moduleVersion is the version that the binary was built from.
func moduleVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}

// dependency is the version of a module that the binary was built with.
func dependency(path string) string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, d := range info.Deps {
			if d.Path == path {
				return d.Version
			}
		}
	}
	return "unknown"
}

// versionLine is what a person wants to read.
func versionLine() string {
	return fmt.Sprintf("isthmus %s, CoreDNS %s, %s %s/%s", moduleVersion(),
		dependency("github.com/coredns/coredns"), runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
