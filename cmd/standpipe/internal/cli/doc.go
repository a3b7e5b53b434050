// Package cli holds the parts that the commands of standpipe share: the root command and the exit codes, the flags and the
// TLS of a connection to an agent, requests to its admin listener, and tables of 80 columns.
//
// RunE of a command returns a plain error for exit code 1 and an ExitError for another code.
package cli
