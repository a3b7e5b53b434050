package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/standpipe/standpipe/agent/admin"
)

func newVersionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version, the commit and the Go version",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, args []string) error {
			_, err := fmt.Fprintln(c.OutOrStdout(), versionLine(debug.ReadBuildInfo()))
			return err
		},
	}
}

func versionLine(info *debug.BuildInfo, ok bool) string {
	commit := "unknown"
	if ok {
		commit = commitOf(info.Settings)
	}
	return fmt.Sprintf("standpipe %s (commit %s, %s %s/%s)",
		admin.Version, commit, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

// commitOf returns the short commit of the build, with the suffix -dirty if the checkout had changes.
func commitOf(settings []debug.BuildSetting) string {
	commit, dirty := "unknown", ""
	for _, s := range settings {
		switch {
		case s.Key == "vcs.revision" && len(s.Value) >= 7:
			commit = s.Value[:7]
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "-dirty"
		}
	}
	if commit == "unknown" {
		return commit
	}
	return commit + dirty
}
