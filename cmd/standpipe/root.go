package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// The exit codes.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2 // invalid command line or, for agent, invalid configuration
)

// exitError ends the program with a code. With a nil err no more message is printed.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

func init() {
	cobra.EnableCommandSorting = false
}

// run runs a command line and returns its exit code. RunE of a command returns a plain error for exit code 1 and an exitError for
// another code. All other errors come from cobra: the command line is invalid.
func run(root *cobra.Command, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	command, err := root.ExecuteC()
	if err == nil {
		return exitDone
	}
	exit := (*exitError)(nil)
	if !errors.As(err, &exit) {
		fmt.Fprintf(stderr, "standpipe: %v\nRun '%s --help' for usage.\n", err, command.CommandPath())
		return exitUsage
	}
	if exit.err != nil {
		fmt.Fprintf(stderr, "standpipe: %v\n", exit.err)
	}
	return exit.code
}

// newRootCommand returns the program's command with the given commands, which the help text lists in their order.
func newRootCommand(commands ...func() *cobra.Command) *cobra.Command {
	root := &cobra.Command{
		Use:               "standpipe",
		Short:             "Accept events, store them durably, deliver them to Firehose and Kinesis",
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
	}
	for _, newCommand := range commands {
		root.AddCommand(newCommand())
	}
	prepare(root)
	root.SetHelpCommand(newHelpCommand())
	return root
}

// newHelpCommand is cobra's own help command, except that an unknown command is an error.
func newHelpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "help [command]",
		Short: "Help about any command",
		RunE: func(c *cobra.Command, args []string) error {
			about, rest, err := c.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return fmt.Errorf("unknown command %q", strings.Join(args, " "))
			}
			about.InitDefaultHelpFlag()
			return about.Help()
		},
	}
}

// prepare adds exit codes to the errors of c and its subcommands.
func prepare(c *cobra.Command) {
	for _, sub := range c.Commands() {
		prepare(sub)
	}
	if c.RunE == nil && c.Run == nil {
		c.Args = cobra.ArbitraryArgs
		c.SuggestionsMinimumDistance = 2
		c.RunE = noCommand
		return
	}
	if runE := c.RunE; runE != nil {
		c.RunE = func(c *cobra.Command, args []string) error { return failed(runE(c, args)) }
	}
	if allowed := c.Args; allowed != nil {
		c.Args = func(c *cobra.Command, args []string) error {
			if allowed(c, args) != nil { // cobra's text only has the numbers
				return fmt.Errorf("%s given; the command is: %s", number(len(args), "argument"), c.UseLine())
			}
			return nil
		}
	}
}

// failed adds the exit code 1 to an error without a code.
func failed(err error) error {
	if exit := (*exitError)(nil); err == nil || errors.As(err, &exit) {
		return err
	}
	return &exitError{code: exitFailed, err: err}
}

// noCommand runs for a command with subcommands if none of them is given. Cobra would print the help and succeed.
func noCommand(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return errors.New("a command is missing")
	}
	text := fmt.Sprintf("unknown command %q", args[0])
	if near := c.SuggestionsFor(args[0]); len(near) > 0 {
		text += "; did you mean " + strings.Join(near, " or ") + "?"
	}
	return errors.New(text)
}
