package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/standpipe/standpipe/agent/config"
)

func newValidateCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "validate FILE",
		Short: "Check a configuration file",
		Long: "Check a configuration file. Every fault is a line on standard error:\n" +
			"file:line:column: what is wrong, what is allowed.",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return validate(c, args[0]) },
	}
}

func validate(c *cobra.Command, path string) error {
	loaded, err := config.Load(path)
	if err != nil {
		return &exitError{code: exitFailed, err: sayFaults(err, c.ErrOrStderr())}
	}
	_, err = fmt.Fprintf(c.OutOrStdout(), "%s: ok: %s\n", path, summary(loaded))
	return err
}

// sayFaults prints a configuration's faults as they are, one a line, and returns what is left to say.
func sayFaults(err error, stderr io.Writer) error {
	faults := (*config.FaultsError)(nil)
	if !errors.As(err, &faults) {
		return err
	}
	fmt.Fprintln(stderr, faults)
	return nil
}

func summary(c *config.Config) string {
	destinations := 0
	for _, s := range c.Streams {
		destinations += len(s.Destinations)
	}
	return fmt.Sprintf("%s, %s, %s", number(len(c.Streams), "stream"),
		number(destinations, "destination"), number(len(c.Listeners), "listener"))
}

func number(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
