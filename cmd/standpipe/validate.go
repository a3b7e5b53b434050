package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"

	"github.com/standpipe/standpipe/agent"
	"github.com/standpipe/standpipe/agent/config"
	"github.com/standpipe/standpipe/cmd/standpipe/internal/cli"
)

func newValidateCommand() *cobra.Command {
	var files bool
	c := &cobra.Command{
		Use:   "validate FILE",
		Short: "Check a configuration file",
		Long: "Check a configuration file, or a folder of files *.hcl. Every fault is a line on standard error:\n" +
			"file:line:column: the mistake; the allowed values.\n\n" +
			"With --files, check also the certificates, keys and token files that it names, on this host and with\n" +
			"the rights of the current user.",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return validate(c, args[0], files) },
	}
	c.Flags().BoolVar(&files, "files", false, "check also the certificates, keys and token files that it names")
	return c
}

func validate(c *cobra.Command, path string, files bool) error {
	loaded, err := agent.Load(path)
	if err != nil {
		return &cli.ExitError{Code: cli.ExitFailed, Err: printFaults(err, c.ErrOrStderr())}
	}
	if files {
		if err := checkFiles(c.ErrOrStderr(), loaded); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(c.OutOrStdout(), "%s: ok: %s\n", path, summary(loaded))
	return err
}

// printFaults prints a configuration's faults, one a line, and returns nil. It returns any other error unchanged.
func printFaults(err error, stderr io.Writer) error {
	faults := (*config.FaultsError)(nil)
	if !errors.As(err, &faults) {
		return err
	}
	fmt.Fprintln(stderr, faults)
	return nil
}

// checkFiles prints the faults and warnings of the files that a configuration names, one a line.
func checkFiles(stderr io.Writer, loaded *config.Config) error {
	logger := hclog.New(&hclog.LoggerOptions{Output: stderr, Level: hclog.Warn, DisableTime: true})
	faults := agent.CheckFiles(loaded, logger)
	for _, fault := range faults {
		fmt.Fprintln(stderr, fault)
	}
	if len(faults) > 0 {
		return &cli.ExitError{Code: cli.ExitFailed}
	}
	return nil
}

func summary(c *config.Config) string {
	destinations := 0
	for _, s := range c.Streams {
		destinations += len(s.Destinations)
	}
	return fmt.Sprintf("%s, %s, %s", cli.Number(len(c.Streams), "stream"),
		cli.Number(destinations, "destination"), cli.Number(len(c.Listeners), "listener"))
}
