package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/standpipe/standpipe/cmd/standpipe/internal/cli"
)

// outcome is the result of a run.
type outcome struct {
	code           int
	stdout, stderr string
}

func runWith(args ...string) outcome {
	var stdout, stderr bytes.Buffer
	code := cli.Run(newRoot(), args, strings.NewReader(""), &stdout, &stderr)
	return outcome{code, stdout.String(), stderr.String()}
}

func TestExitCodes(t *testing.T) {
	tests := []struct {
		args   string
		code   int
		stderr string
	}{
		{"--help", 0, ""},
		{"help", 0, ""},
		{"status --help", 0, ""},
		{"help status", 0, ""},
		{"help fly", 2, `unknown command "fly"`},
		{"version", 0, ""},
		{"", 0, ""},
		{"--version", 0, ""},
		{"healthcheck --address nowhere", 2, "want host:port or unix:///path"},
		{"status --stream [", 2, `invalid --stream "["`},
		{"fly", 2, `unknown command "fly"`},
		{"statsu", 2, "did you mean status?"},
		{"--fly", 2, "unknown flag: --fly"},
		{"version now", 2, "1 argument given; the command is: standpipe version"},
		{"version --fly", 2, "Run 'standpipe version --help' for usage."},
		{"validate", 2, "0 arguments given; the command is: standpipe validate FILE"},
		{"validate a b", 2, "2 arguments given; the command is: standpipe validate FILE"},
		{"status --address", 2, "flag needs an argument: --address"},
		{"status --address nowhere", 2, "want host:port or unix:///path"},
		{"validate nowhere.hcl", 1, "nowhere.hcl"},
	}
	for _, test := range tests {
		got := runWith(strings.Fields(test.args)...)
		if got.code != test.code || !strings.Contains(got.stderr, test.stderr) || (test.code == 0) != (got.stderr == "") {
			t.Errorf("standpipe %s: got %d, %q; want %d, %q", test.args, got.code, got.stderr, test.code, test.stderr)
		}
		if (test.code == 0) != (got.stdout != "") {
			t.Errorf("standpipe %s: got %q on standard output", test.args, got.stdout)
		}
	}
}

func TestCommands_AreInOrder(t *testing.T) {
	var got []string
	for _, c := range newRoot().Commands() {
		got = append(got, c.Name())
	}
	order := "agent validate doctor init iam provision put tap replay status top healthcheck reload link cost destination dead wal version man completion"
	last := -1
	for _, name := range got {
		if place := strings.Index(order, name); place < last {
			t.Errorf("got %v, want the order of %q", got, order)
		} else {
			last = place
		}
	}
}

func TestCommands_ErrorsHaveExitCodes(t *testing.T) {
	plain := errors.New("the disk is gone")
	tests := []struct {
		err    error
		code   int
		stderr string
	}{
		{nil, 0, ""},
		{plain, 1, "standpipe: the disk is gone\n"},
		{fmt.Errorf("start: %w", &cli.ExitError{Code: 2, Err: plain}), 2, "standpipe: the disk is gone\n"},
		{&cli.ExitError{Code: 1}, 1, ""},
	}
	saved := commands
	defer func() { commands = saved }()
	for _, test := range tests {
		commands = []func() *cobra.Command{func() *cobra.Command {
			parent := &cobra.Command{Use: "wal"}
			parent.AddCommand(&cobra.Command{Use: "ls", RunE: func(*cobra.Command, []string) error { return test.err }})
			return parent
		}}
		if got := runWith("wal", "ls"); got.code != test.code || got.stderr != test.stderr {
			t.Errorf("%v: got %d, %q; want %d, %q", test.err, got.code, got.stderr, test.code, test.stderr)
		}
		if got := runWith("wal", "sl"); got.code != 2 {
			t.Errorf("an unknown command under a command: got %d, want 2", got.code)
		}
		if got := runWith("wal"); got.code != 2 {
			t.Errorf("a command that is missing: got %d, want 2", got.code)
		}
	}
}

func TestCommands_FailIfOutputFails(t *testing.T) {
	var stderr bytes.Buffer
	if got := cli.Run(newRoot(), []string{"version"}, strings.NewReader(""), brokenPipe{}, &stderr); got != 1 {
		t.Errorf("got %d, want 1: %s", got, &stderr)
	}
}

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }
