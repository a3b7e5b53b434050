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
	"github.com/standpipe/standpipe/wal/inspect"
)

func newValidateCommand() *cobra.Command {
	var files, asJSON bool
	var dataDir string
	var explain explainFlags
	c := &cobra.Command{
		Use:   "validate FILE",
		Short: "Check a configuration file",
		Long: `Check a configuration file, or a folder of files *.hcl. Every fault is on standard error:
file:line:column: the mistake; the allowed values. The line of the file follows.

Warnings are settings that are valid but surely not as intended. They do not
change the exit code.

With --files, check also the certificates, keys and token files that it names,
on this host and with the rights of the current user.

With --explain, print every setting with its value and its origin: the line of
the file, the profile, or default. The bytes that the log writes to a flash card
and that requests take on the link follow, for the given traffic.

With --data-dir, list also the destinations that the log in this directory has
and the file does not: an agent would park them. The log may be in use.`,
		Args: cobra.ExactArgs(1),

		ValidArgsFunction: cli.ConfigFile,
		RunE: func(c *cobra.Command, args []string) error {
			if asJSON {
				return validateJSON(c, args[0], files, dataDir)
			}
			return validate(c, args[0], files, dataDir, &explain)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print the result as JSON on standard output")
	c.Flags().BoolVar(&files, "files", false, "check also the certificates, keys and token files that it names")
	explain.add(c)
	c.Flags().StringVar(&dataDir, "data-dir", "", "list also the destinations that the log in this `directory` has and the file does not")
	return c
}

func validate(c *cobra.Command, path string, files bool, dataDir string, explain *explainFlags) error {
	loaded, err := agent.Load(path)
	if err != nil {
		return &cli.ExitError{Code: cli.ExitFailed, Err: printFaults(err, c.ErrOrStderr())}
	}
	if err := config.WriteFaults(c.ErrOrStderr(), loaded.Warnings()); err != nil {
		return err
	}
	if files {
		if err := checkFiles(c.ErrOrStderr(), loaded); err != nil {
			return err
		}
	}
	if dataDir != "" {
		if err := printParked(c.Context(), c.ErrOrStderr(), dataDir, loaded); err != nil {
			return err
		}
	}
	if explain.on {
		return explain.explain(c.OutOrStdout(), loaded)
	}
	_, err = fmt.Fprintf(c.OutOrStdout(), "%s: ok: %s\n", path, summary(loaded))
	return err
}

// printFaults prints a configuration's faults with their source lines, and returns nil. It returns any other error unchanged.
func printFaults(err error, stderr io.Writer) error {
	faults := (*config.FaultsError)(nil)
	if !errors.As(err, &faults) {
		return err
	}
	return config.WriteFaults(stderr, faults.Faults)
}

// checkFiles prints the faults and warnings of the files that a configuration names.
func checkFiles(stderr io.Writer, loaded *config.Config) error {
	logger := hclog.New(&hclog.LoggerOptions{Output: stderr, Level: hclog.Warn, DisableTime: true})
	faults := agent.CheckFiles(loaded, logger)
	if err := config.WriteFaults(stderr, faults); err != nil {
		return err
	}
	if len(faults) > 0 {
		return &cli.ExitError{Code: cli.ExitFailed}
	}
	return nil
}

// validation is the result of validate --json.
type validation struct {
	OK       bool       `json:"ok"`
	Faults   []fileNote `json:"faults"`
	Warnings []fileNote `json:"warnings"`

	Parked []parkedNote `json:"parked,omitempty"` // with --data-dir
}

// fileNote is a fault or a warning. Line and Column count from 1; Source is the line, and Length the characters of the value.
type fileNote struct {
	File   string `json:"file"`
	Line   int    `json:"line"`
	Column int    `json:"column"`
	Text   string `json:"text"`
	Source string `json:"source"`
	Length int    `json:"length"`
}

func fileNotes(faults []config.Fault) []fileNote {
	notes := make([]fileNote, len(faults))
	for i, f := range faults {
		notes[i] = fileNote{f.Pos.File, f.Pos.Line, f.Pos.Column, f.Text, f.Source, f.Size}
	}
	return notes
}

func validateJSON(c *cobra.Command, path string, files bool, dataDir string) error {
	loaded, err := agent.Load(path)
	faults := (*config.FaultsError)(nil)
	if err != nil && !errors.As(err, &faults) {
		return err
	}
	var found, warnings []config.Fault
	switch {
	case err != nil:
		found = faults.Faults
	default:
		warnings = loaded.Warnings()
		if files {
			found = agent.CheckFiles(loaded, hclog.NewNullLogger())
		}
	}
	result := validation{OK: len(found) == 0, Faults: fileNotes(found), Warnings: fileNotes(warnings)}
	if dataDir != "" && err == nil {
		if result.Parked, err = parkedBy(c.Context(), dataDir, loaded); err != nil && !errors.Is(err, inspect.ErrNoLog) {
			return err
		}
	}
	if err := cli.WriteJSON(c.OutOrStdout(), result); err != nil {
		return err
	}
	if !result.OK {
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
