// Package clitest runs command lines for the tests of the commands. Only tests import it.
package clitest

import (
	"bytes"
	"strings"

	"github.com/spf13/cobra"

	"github.com/standpipe/standpipe/cmd/standpipe/internal/cli"
)

// Outcome is the result of a run.
type Outcome struct {
	Code           int
	Stdout, Stderr string
}

// Run runs standpipe, with that command alone, and empty standard input.
func Run(command func() *cobra.Command, args ...string) Outcome {
	var stdout, stderr bytes.Buffer
	code := cli.Run(cli.NewRoot(command), args, strings.NewReader(""), &stdout, &stderr)
	return Outcome{code, stdout.String(), stderr.String()}
}
