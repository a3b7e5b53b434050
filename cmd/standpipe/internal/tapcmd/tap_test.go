package tapcmd_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/standpipe/standpipe/agent/ingest"
	"github.com/standpipe/standpipe/cmd/standpipe/internal/cli"
	"github.com/standpipe/standpipe/cmd/standpipe/internal/clitest"
	"github.com/standpipe/standpipe/cmd/standpipe/internal/tapcmd"
	"github.com/standpipe/standpipe/test/ingestkit"
	"github.com/standpipe/standpipe/test/testkit"
	"github.com/standpipe/standpipe/wal"
)

func TestMain(m *testing.M) { testkit.RunTests(m, "standpipe/cmd", nil) }

// A limit counts the events of all streams together, and ends the command also where it would wait for more.
func TestTap_EndsAtItsLimit(t *testing.T) {
	l := testkit.OpenLog(t, wal.Options{})
	s := ingestkit.Serve(t, ingest.Options{Type: ingest.GRPC, Log: ingest.FromWAL(l), Reads: l})
	for i := range 5 {
		for _, stream := range []string{"text", "bytes"} {
			testkit.AppendOne(t, l, stream, "k", fmt.Sprint(i))
		}
	}
	address := "unix://" + s.Addr().String()
	for _, test := range []struct {
		args         []string
		code, events int
		stderr       string
	}{
		{args: []string{"text", "--limit", "3"}, events: 3},
		{args: []string{"*", "--limit", "3"}, events: 3},
		{args: []string{"*", "--limit", "10"}, events: 10},
		{args: []string{"*", "--limit", "7", "--follow=false"}, events: 7},
		{args: []string{"*", "--limit", "100", "--follow=false"}, events: 10},
		{args: []string{"text", "--follow=false"}, events: 5},
		{args: []string{"nosuch*", "--follow=false"}},
		{args: []string{"text", "--from", "7"}, code: cli.ExitFailed, stderr: "from_offset 7 is beyond the end of stream"},
	} {
		args := append([]string{"tap", "--address", address, "--from", "oldest"}, test.args...)
		got := clitest.Run(tapcmd.New, args...)
		if n := strings.Count(got.Stdout, "\n"); got.Code != test.code || n != test.events || !strings.Contains(got.Stderr, test.stderr) || test.stderr == "" && got.Stderr != "" {
			t.Errorf("%q: got exit code %d, %d events, %s", test.args, got.Code, n, got.Stderr)
		}
	}
}

// Without an agent the command ends with the reason.
func TestTap_WithoutAnAgent(t *testing.T) {
	got := clitest.Run(tapcmd.New, "tap", "text", "--address", "unix://"+filepath.Join(t.TempDir(), "absent"))
	if got.Code != cli.ExitFailed || !strings.Contains(got.Stderr, "absent") {
		t.Errorf("got exit code %d, %s", got.Code, got.Stderr)
	}
}
