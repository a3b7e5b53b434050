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
	exitUsage  = 2 // the command line is wrong or, for agent, the configuration
)

// exitError ends the program with a code. A nil err means that everything has been said.
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

// commands are the commands in the order in which they are told.
var commands = []func() *cobra.Command{
	newAgentCommand,
	newValidateCommand,
	newPutCommand,
	newStatusCommand,
	newCostCommand,
	newDeadCommand,
	newWALCommand,
	newVersionCommand,
}

func init() {
	cobra.EnableCommandSorting = false
}

// run is the program: it returns the exit code. A command's RunE returns a plain error for exit
// code 1 and an exitError for another; any other error of cobra's is a wrong command line.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := newRootCommand()
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

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:               "standpipe",
		Short:             "Take events, make them safe on disk, feed them to Firehose and Kinesis",
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

// newHelpCommand is cobra's own but for a command that does not exist, which is an error here.
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

// prepare makes the errors of c and the commands under it carry their exit codes.
func prepare(c *cobra.Command) {
	for _, sub := range c.Commands() {
		prepare(sub)
	}
	if c.RunE == nil && c.Run == nil {
		c.Args = cobra.ArbitraryArgs
		c.SuggestionsMinimumDistance = 2
		c.RunE = refuseCommand
		return
	}
	if runE := c.RunE; runE != nil {
		c.RunE = func(c *cobra.Command, args []string) error { return failed(runE(c, args)) }
	}
	if allowed := c.Args; allowed != nil {
		c.Args = func(c *cobra.Command, args []string) error {
			if allowed(c, args) != nil { // cobra tells only how many
				return fmt.Errorf("%s given; the command is: %s", number(len(args), "argument"), c.UseLine())
			}
			return nil
		}
	}
}

// failed gives a command's error the exit code 1 unless it has one.
func failed(err error) error {
	if exit := (*exitError)(nil); err == nil || errors.As(err, &exit) {
		return err
	}
	return &exitError{code: exitFailed, err: err}
}

// refuseCommand is run where a command with commands under it is given none of them. Cobra on its
// own would show its help and call that a success.
func refuseCommand(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return errors.New("a command is missing")
	}
	text := fmt.Sprintf("unknown command %q", args[0])
	if near := c.SuggestionsFor(args[0]); len(near) > 0 {
		text += "; did you mean " + strings.Join(near, " or ") + "?"
	}
	return errors.New(text)
}
