// Package cli holds the shared parts of the commands: the root command, the exit codes, connections to an agent and their
// flags, requests to its admin listener, and tables as wide as the terminal.
//
// RunE of a command returns a plain error for exit code 1 and an ExitError for another code.
package cli
