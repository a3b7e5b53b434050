package main

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/standpipe/standpipe/agent/admin"
)

func newVersionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version, the commit and the Go version",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, args []string) error {
			_, err := fmt.Fprintln(c.OutOrStdout(), versionLine(admin.Commit()))
			return err
		},
	}
}

// versionLine returns the text of the command version.
func versionLine(commit string) string {
	return fmt.Sprintf("standpipe %s (commit %s, %s %s/%s)", admin.Version, commit, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
