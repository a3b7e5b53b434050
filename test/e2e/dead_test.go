//go:build unix

package e2e_test

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/standpipe/standpipe/test/fakeaws"
	"github.com/standpipe/standpipe/test/testkit"
)

// An event that Firehose rejects with an explicit code is a dead letter and survives a restart. When Firehose accepts
// it later, a requeue delivers it, to the stream's other destination a second time.
func TestDeadLetter_IsRequeuedUntilDelivered(t *testing.T) {
	endToEnd(t)
	t.Parallel()
	fake := fakeaws.Start(t)
	refusal := fakeaws.Refuse(400, "InvalidArgumentException", "not today")
	fake.FailNext(refusal)
	a := startAgent(t, "", streamBlock("odd", "\n  format = \"text\"", firehoseDestination(fake.URL()), fileDestination))
	send(t, a.dial(), "odd", []event{{"k", "data <ä> 1"}})
	if letter := a.deadLetter(1); letter.Key != "k" || letter.Offset != 1 || !strings.Contains(letter.Reason, "not today") {
		t.Errorf("got %+v, want key k, offset 1 and the reason", letter)
	}
	a.waitDead("odd", 1)
	a.stop()
	a.start()
	a.standpipeDead(0, "data <ä> 1", "not today", "show", "1")

	fake.FailNext(refusal)
	a.standpipeDead(0, "requeued 1 dead letter\n", "", "requeue", "1")
	if letter := a.deadLetter(2); letter.Offset != 2 {
		t.Errorf("got %+v, want a letter of offset 2", letter)
	}
	a.standpipeDead(1, "requeued 0 dead letters\n", "1: wal: no such dead letter", "requeue", "1")
	a.standpipeDead(0, "requeued 0 dead letters\n", "", "requeue", "--stream", "other")

	a.standpipeDead(0, "requeued 1 dead letter\n", "", "requeue", "--stream", "odd", "--destination", "archive")
	testkit.Eventually(t, 20*time.Second, func() error {
		if got := fake.Stored(); got != 1 {
			return fmt.Errorf("got %d records at Firehose, want 1", got)
		}
		return nil
	})
	if got, want := string(fake.Records()[0].Data), "data <ä> 1\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	a.standpipeDead(0, "", "no dead letters", "ls")
	a.waitDead("odd", 2)
	a.stop()
	got := 0
	for _, path := range deliveredFiles(t, a.path("out")) {
		got += strings.Count(readFile(t, path), "data <ä> 1\n")
	}
	if got != 3 {
		t.Errorf("got the event %d times in the file destination, want 3", got)
	}
}

// waitDead waits until every event of the stream is delivered or dead at Firehose.
func (a *agent) waitDead(stream string, want int) {
	a.t.Helper()
	testkit.Eventually(a.t, 20*time.Second, func() error {
		s := a.stream(stream)
		if d := s.destination("archive"); d.Dead.Events != uint64(want) || d.Pending.Events != 0 {
			return fmt.Errorf("archive has %d dead and %d pending, want %d and 0", d.Dead.Events, d.Pending.Events, want)
		}
		return nil
	})
}

type deadLetter struct {
	ID          uint64
	Stream, Key string
	Offset      uint64
	Reason      string
}

// deadLetter waits until the only letter is the one of this id.
func (a *agent) deadLetter(id uint64) (letter deadLetter) {
	a.t.Helper()
	testkit.Eventually(a.t, 20*time.Second, func() error {
		_, out, _ := runProgram(a.t, "", "dead", "ls", "--json", "--address", a.admin)
		letter = deadLetter{}
		if err := json.Unmarshal([]byte(out), &letter); err != nil || letter.ID != id {
			return fmt.Errorf("got letters %q, %v, want letter %d alone", out, err, id)
		}
		return nil
	})
	return letter
}

func (a *agent) standpipeDead(code int, stdout, stderr string, args ...string) {
	a.t.Helper()
	gotCode, out, errs := runProgram(a.t, "", append(append([]string{"dead"}, args...), "--address", a.admin)...)
	if gotCode != code || out != stdout || !strings.Contains(errs, stderr) {
		a.t.Errorf("dead %v: got %d, %q, %q, want %d, %q, %q", args, gotCode, out, errs, code, stdout, stderr)
	}
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
