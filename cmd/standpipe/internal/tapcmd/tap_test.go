package tapcmd_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"sync"
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
		{args: []string{"*", "--limit", "7", "--follow=false"}, events: 7},
		{args: []string{"text", "--limit", "3"}, events: 3},
		{args: []string{"*", "--limit", "3"}, events: 3},
		{args: []string{"*", "--limit", "10"}, events: 10},
		{args: []string{"*", "--limit", "100", "--follow=false"}, events: 10},
		{args: []string{"text", "--follow=false"}, events: 5},
		{args: []string{"nosuch*", "--follow=false"}},
		{args: []string{"text", "--from", "7"}, code: cli.ExitFailed, stderr: "from_offset 7 is beyond the end of stream"},
	} {
		args := append([]string{"tap", "--address", address, "--from", "oldest"}, test.args...)
		got := clitest.Run(tapcmd.New, args...)
		if n := strings.Count(got.Stdout, "\n"); got.Code != test.code || n != test.events || !strings.Contains(got.Stderr, test.stderr) || test.stderr == "" && got.Stderr != "" {
			t.Fatalf("%q: got exit code %d, %d events, %s", test.args, got.Code, n, got.Stderr)
		}
	}
}

// A stream of a pattern that has not reached the offset ends nothing: its events from the offset on are still to come.
func TestTap_OfAPatternFromAnOffset(t *testing.T) {
	l := testkit.OpenLog(t, wal.Options{})
	s := ingestkit.Serve(t, ingest.Options{Type: ingest.GRPC, Log: ingest.FromWAL(l), Reads: l})
	for i := range 5 {
		testkit.AppendOne(t, l, "text", "k", fmt.Sprint(i))
	}
	testkit.AppendOne(t, l, "bytes", "k", "0")
	got := clitest.Run(tapcmd.New, "tap", "*", "--address", "unix://"+s.Addr().String(), "--from", "4", "--follow=false")
	if n := strings.Count(got.Stdout, "\n"); got.Code != 0 || n != 2 || got.Stderr != "" {
		t.Errorf("got exit code %d, %d events, %s", got.Code, n, got.Stderr)
	}
	var appends sync.WaitGroup
	appends.Go(func() {
		for range 4 {
			testkit.AppendOne(t, l, "bytes", "k", "1")
		}
	})
	defer appends.Wait()
	got = clitest.Run(tapcmd.New, "tap", "*", "--address", "unix://"+s.Addr().String(), "--from", "4", "--limit", "4")
	if n := strings.Count(got.Stdout, `"offset":4`) + strings.Count(got.Stdout, `"offset":5`); got.Code != 0 || n != 4 || strings.Count(got.Stdout, "\n") != n {
		t.Errorf("got exit code %d, %s, %s", got.Code, got.Stdout, got.Stderr)
	}
}

// Without an agent the command ends with the reason.
func TestTap_WithoutAnAgent(t *testing.T) {
	got := clitest.Run(tapcmd.New, "tap", "text", "--address", "unix://"+filepath.Join(t.TempDir(), "absent"))
	if got.Code != cli.ExitFailed || !strings.Contains(got.Stderr, "absent") {
		t.Errorf("got exit code %d, %s", got.Code, got.Stderr)
	}
}
