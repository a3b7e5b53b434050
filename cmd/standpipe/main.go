// Command standpipe accepts events from producers on this host, stores them durably, and delivers them to Amazon Data
// Firehose, Kinesis Data Streams and files, with retries until they are delivered.
//
// Contract of the command line: standard output carries data, standard error carries messages. The exit code is 0 on success,
// 1 on failure, and 2 for an invalid command line or, for the command agent, an invalid configuration.
//
// One file holds one command: wal_dump.go is wal dump. root.go has the commands and their exit codes, dial.go the flags and
// the TLS of a connection to an agent, admin_client.go the requests to its admin listener.
package main

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/standpipe/standpipe/cmd/standpipe/internal/cli"
)

// commands are the commands in the order of the help text.
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

func main() {
	os.Exit(cli.Run(cli.NewRoot(commands...), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
