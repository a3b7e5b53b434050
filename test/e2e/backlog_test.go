//go:build unix

package e2e_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/standpipe/standpipe/test/testkit"
)

// A file that does not parse at a restart costs no backlog: the agent does not start, and touches nothing.
func TestBacklog_SurvivesATypoInTheConfiguration(t *testing.T) {
	endToEnd(t)
	t.Parallel()
	k := startKinesalite(t)
	k.create("clicks", 1)
	k.kill()
	right := streamBlock("clicks", kinesisDestination(k.endpoint()))
	a := startAgent(t, "shutdown_timeout = \"1s\"\n", right)
	sent := readings(61, 300)
	send(t, a.dial(), "clicks", sent)
	a.stop()
	before := dataFiles(t, a)
	for _, typo := range []string{
		strings.Replace(right, "destination", "destinaton", 1),
		strings.Replace(right, `"kinesis"`, `"kinesys"`, 1),
		strings.Replace(right, "clicks\" {", "clicks\"", 1),
	} {
		a.configure(typo)
		a.launch()
		if code := a.exit(20 * time.Second); code != 2 {
			t.Errorf("got exit code %d with a typo, want 2", code)
		}
	}
	if !equalFiles(before, dataFiles(t, a)) {
		t.Error("an agent that did not start has changed the data directory")
	}
	k.start()
	a.configure(right)
	a.start()
	a.waitDelivered("clicks", len(sent), 30*time.Second)
	a.stop()
	live, _ := k.read("clicks")
	owing(sent).expectWhole(t, "live", live, 0)
}

// A destination under another name begins with the oldest event of the log; under the old one its events are kept,
// and are delivered when the name is back.
func TestBacklog_OfARenamedDestinationIsKept(t *testing.T) {
	endToEnd(t)
	t.Parallel()
	k := startKinesalite(t)
	k.create("clicks", 1)
	k.kill()
	named := func(name string) string { return streamBlock("clicks", kinesisAs(name, "kpl", k.endpoint())) }
	a := startAgent(t, "shutdown_timeout = \"1s\"\n", named("live"))
	sent := readings(62, 300)
	send(t, a.dial(), "clicks", sent)
	a.stop()
	a.configure(named("renamed"))
	a.start()
	testkit.Eventually(t, 10*time.Second, func() error {
		s := a.stream("clicks")
		old, renamed := s.destination("live"), s.destination("renamed")
		if old.State != "parked" || old.Pending.Events != 300 || renamed.Pending.Events != 300 {
			return fmt.Errorf("live is %s with %d pending, renamed has %d; want 300 of both and the first parked", old.State, old.Pending.Events, renamed.Pending.Events)
		}
		return nil
	})
	a.stop()
	a.configure(named("live"))
	k.start()
	a.start()
	testkit.Eventually(t, 30*time.Second, func() error {
		if d := a.stream("clicks").destination("live"); d.Delivered.Events != 300 {
			return fmt.Errorf("live has delivered %d of 300: %s", d.Delivered.Events, d.LastError)
		}
		return nil
	})
	a.stop()
	live, _ := k.read("clicks")
	owing(sent).expectWhole(t, "live", live, 0)
}

// The tools read a copy of the data directory of a lost machine: without its lock, read-only.
func TestTools_OnACopyOfADeadMachinesData(t *testing.T) {
	endToEnd(t)
	t.Parallel()
	a := startAgent(t, "", streamBlock("s", unreachable(t)))
	sent := readings(63, 200)
	send(t, a.dial(), "s", sent)
	exportTo := func(data, folder string) {
		t.Helper()
		if code, out, errs := runProgram(t, "", "wal", "export", data, "s", "--raw", "--out", folder); code != 0 {
			t.Errorf("wal export: got exit code %d: %s%s", code, out, errs)
		}
		if got := contents(t, folder); strings.Count(got, "\n") != 200 || !strings.HasPrefix(got, sent[0].data) {
			t.Errorf("got %d lines exported, want 200", strings.Count(got, "\n"))
		}
	}
	exportTo(a.path("data"), a.path("beside"))
	a.kill()
	copied := a.path("copied")
	if err := os.CopyFS(copied, os.DirFS(a.path("data"))); err != nil {
		t.Fatal(err)
	}
	for path, mode := range map[string]os.FileMode{copied + "/wal": 0o555, copied: 0o555} {
		if err := os.RemoveAll(copied + "/LOCK"); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.Chmod(path, 0o755) })
	}
	for _, command := range []string{"ls", "dump", "verify"} {
		if code, out, errs := runProgram(t, "", "wal", command, copied); code != 0 {
			t.Errorf("wal %s: got exit code %d: %.300s%.300s", command, code, out, errs)
		}
	}
	exportTo(copied, a.path("out"))
}
