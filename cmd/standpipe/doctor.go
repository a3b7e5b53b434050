package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/standpipe/standpipe/agent"
	"github.com/standpipe/standpipe/agent/doctor"
	"github.com/standpipe/standpipe/cmd/standpipe/internal/cli"
)

func newDoctorCommand() *cobra.Command {
	var asJSON bool
	o := doctor.Options{Timeout: 10 * time.Second}
	c := &cobra.Command{
		Use:   "doctor FILE",
		Short: "Try the needs of a configuration on this host",
		Long: `Try the needs of a configuration on this host, with the rights of the current
user: the data directory and its disk, addresses, certificates, the clock, file
descriptors, credentials, and each destination.

Each part is one line; a part that is not in order has a remedy below it. No
event is sent. A running agent with the same configuration is not disturbed. The
exit code is 1 if a part has failed; warnings do not change it.`,
		Args: cobra.ExactArgs(1),

		ValidArgsFunction: cli.ConfigFile,
		RunE: func(c *cobra.Command, args []string) error {
			conf, err := agent.Load(args[0])
			if err != nil {
				return &cli.ExitError{Code: cli.ExitFailed, Err: printFaults(err, c.ErrOrStderr())}
			}
			if cli.ScreenOf(c.ErrOrStderr()).Terminal {
				o.Progress = func(done, all int) { fmt.Fprintf(c.ErrOrStderr(), "\r\x1b[Kchecked %d of %d", done, all) }
			}
			checks := doctor.Run(c.Context(), conf, o)
			if o.Progress != nil {
				fmt.Fprint(c.ErrOrStderr(), "\r\x1b[K")
			}
			return writeChecks(c.OutOrStdout(), checks, asJSON)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	c.Flags().DurationVar(&o.Timeout, "timeout", o.Timeout, "the longest `time` of each check")
	return c
}

// diagnosis is the result of doctor --json.
type diagnosis struct {
	OK     bool           `json:"ok"`
	Checks []doctor.Check `json:"checks"`
}

func writeChecks(out io.Writer, checks []doctor.Check, asJSON bool) error {
	d := diagnosis{OK: true, Checks: checks}
	width := 0
	for _, c := range checks {
		d.OK = d.OK && c.Result != doctor.Failed
		width = max(width, len(c.Name))
	}
	var err error
	if asJSON {
		err = cli.WriteJSON(out, d)
	} else {
		var text strings.Builder
		for _, c := range checks {
			fmt.Fprintf(&text, "%-7s  %-*s  %s\n", c.Result, width, cli.Printable(c.Name), cli.Printable(c.Text))
			if c.Remedy != "" {
				fmt.Fprintf(&text, "%-7s  %-*s  -> %s\n", "", width, "", cli.Printable(c.Remedy))
			}
		}
		_, err = io.WriteString(out, text.String())
	}
	if err != nil {
		return err
	}
	if !d.OK {
		return &cli.ExitError{Code: cli.ExitFailed}
	}
	return nil
}
