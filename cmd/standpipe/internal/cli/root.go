package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// The exit codes.
const (
	ExitDone   = 0
	ExitFailed = 1
	ExitUsage  = 2 // invalid command line or, for agent, invalid configuration
)

// ExitError ends the program with a code. With a nil err no more message is printed.
type ExitError struct {
	Code int
	Err  error
}

// Error returns the error's text.
func (e *ExitError) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("exit code %d", e.Code)
	}
	return e.Err.Error()
}

// Unwrap returns the error without its exit code.
func (e *ExitError) Unwrap() error { return e.Err }

func init() {
	cobra.EnableCommandSorting = false
}

// Run runs a command line and returns its exit code. An error without an exit code comes from cobra: the command line is
// invalid.
func Run(root *cobra.Command, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	command, err := root.ExecuteC()
	if err == nil {
		return ExitDone
	}
	exit := (*ExitError)(nil)
	if !errors.As(err, &exit) {
		fmt.Fprintf(stderr, "standpipe: %v\nRun '%s --help' for usage.\n", err, command.CommandPath())
		return ExitUsage
	}
	if exit.Err != nil {
		fmt.Fprintf(stderr, "standpipe: %v\n", exit.Err)
	}
	return exit.Code
}

// NewRoot returns the program's command with the given commands, which the help text lists in their order.
func NewRoot(commands ...func() *cobra.Command) *cobra.Command {
	root := &cobra.Command{
		Use:           "standpipe",
		Short:         "Accept events, store them durably, deliver them in order",
		SilenceErrors: true,
		SilenceUsage:  true,
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
				return fmt.Errorf("%s given; the command is: %s", Number(len(args), "argument"), c.UseLine())
			}
			return nil
		}
	}
}

// failed adds the exit code 1 to an error without a code.
func failed(err error) error {
	if exit := (*ExitError)(nil); err == nil || errors.As(err, &exit) {
		return err
	}
	return &ExitError{Code: ExitFailed, Err: err}
}

// noCommand runs for a command with subcommands if none of them is given. Cobra would print the help and succeed.
func noCommand(c *cobra.Command, args []string) error {
	if len(args) == 0 && c.HasParent() {
		return errors.New("a command is missing")
	}
	if len(args) == 0 {
		return c.Help()
	}
	text := fmt.Sprintf("unknown command %q", args[0])
	if near := c.SuggestionsFor(args[0]); len(near) > 0 {
		text += "; did you mean " + strings.Join(near, " or ") + "?"
	}
	return errors.New(text)
}
