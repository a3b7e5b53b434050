// Command standpipe accepts events from producers on this host, stores them durably, and delivers them to each destination of
// their stream, with retries until they are delivered.
//
// Contract of the command line: standard output carries data, standard error carries messages. The exit code is 0 on success,
// 1 on failure, and 2 for an invalid command line or, for the command agent, an invalid configuration.
//
// One file holds one command: cost.go is standpipe cost. The larger commands, put, top, dead, destination and wal, are packages
// below internal.
// Package internal/cli holds the parts that all of them share.
package main

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/standpipe/standpipe/agent/admin"
	"github.com/standpipe/standpipe/cmd/standpipe/internal/cli"
	"github.com/standpipe/standpipe/cmd/standpipe/internal/deadcmd"
	"github.com/standpipe/standpipe/cmd/standpipe/internal/destinationcmd"
	"github.com/standpipe/standpipe/cmd/standpipe/internal/provisioncmd"
	"github.com/standpipe/standpipe/cmd/standpipe/internal/putcmd"
	"github.com/standpipe/standpipe/cmd/standpipe/internal/replaycmd"
	"github.com/standpipe/standpipe/cmd/standpipe/internal/tapcmd"
	"github.com/standpipe/standpipe/cmd/standpipe/internal/topcmd"
	"github.com/standpipe/standpipe/cmd/standpipe/internal/walcmd"
)

// commands are the commands in the order of the help text.
var commands = []func() *cobra.Command{
	newAgentCommand,
	newValidateCommand,
	newDoctorCommand,
	newInitCommand,
	newIAMCommand,
	provisioncmd.New,
	putcmd.New,
	tapcmd.New,
	replaycmd.New,
	newStatusCommand,
	topcmd.New,
	newHealthcheckCommand,
	newReloadCommand,
	newLinkCommand,
	newCostCommand,
	destinationcmd.New,
	deadcmd.New,
	walcmd.New,
	newVersionCommand,
	newManCommand,
}

func newRoot() *cobra.Command {
	root := cli.NewRoot(commands...)
	root.Version = admin.Version // cobra adds the flag --version
	root.SetVersionTemplate(versionLine(admin.Commit()) + "\n")
	return root
}

func main() {
	os.Exit(cli.Run(newRoot(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
