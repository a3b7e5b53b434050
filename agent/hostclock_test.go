package agent_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/standpipe/standpipe/agent"
	"github.com/standpipe/standpipe/agent/admin"
	"github.com/standpipe/standpipe/agent/internal/clock"
)

// A host boots in 1970. Its destination is blocked, and would be tried again in an hour. A step of the clock makes it try
// at once, and the event has the time at which it came.
func TestClock_StepRetriesAndCorrects(t *testing.T) {
	var off atomic.Int64
	off.Store(-int64(56 * 365 * 24 * time.Hour))
	booted := time.Now()
	steps := make(chan chan<- struct{}, 1)
	agent.SetHostClock(t, clock.System{
		BootID: "a", Wall: func() time.Time { return time.Now().Add(time.Duration(off.Load())) },
		Boot:         func() time.Duration { return time.Since(booted) },
		Synchronized: func() bool { return false },
		Steps: func(ctx context.Context, c chan<- struct{}) error {
			steps <- c
			<-ctx.Done()
			return nil
		},
	})
	out := filepath.Join(t.TempDir(), "out")
	blockPath(t, out)
	conf := parse(t, t.TempDir(), strings.ReplaceAll(`
stream "s" {
  destination "file" "f" {
    path     = "OUT"
    envelope = true
    retry {
      initial = "1h"
      max     = "1h"
    }
  }
}`, "OUT", out))
	a := run(t, conf)
	client := dial(t, conf)
	<-a.Running()
	before := time.Now()
	send(t, client, "s", 1)
	after := time.Now()
	until(t, "the destination is not blocked", func() bool { return destination(t, a, "s", "f").State == admin.Blocked })
	until(t, "no problem shows the clock", func() bool { return problem(a, "clock_unset") != nil })

	unblockPath(t, out)
	off.Store(0)
	(<-steps) <- struct{}{}
	until(t, "nothing is delivered", func() bool { return destination(t, a, "s", "f").Delivered.Events == 1 })
	until(t, "the problem goes on", func() bool { return problem(a, "clock_unset") == nil })
	files, err := filepath.Glob(filepath.Join(out, "*/*/*/*/*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("got the files %q, %v, want one", files, err)
	}
	line, err := os.ReadFile(files[0])
	var got struct {
		Time      time.Time
		Uncertain bool `json:"time_uncertain"`
	}
	if err == nil {
		err = json.Unmarshal(line, &got)
	}
	if err != nil || got.Uncertain || got.Time.Before(before) || got.Time.After(after) {
		t.Errorf("got %s, %v, want a certain time from %s to %s", line, err, before.UTC(), after.UTC())
	}
}

// A time service steps the clock while the agent opens its log.
func TestClock_StepDuringTheStart(t *testing.T) {
	var off atomic.Int64
	booted := time.Now()
	agent.SetHostClock(t, clock.System{
		BootID: "a", Wall: func() time.Time { return time.Now().Add(time.Duration(off.Load())) },
		Boot: func() time.Duration { // the wall clock was read already
			off.Store(int64(time.Hour))
			return time.Since(booted)
		},
		Synchronized: func() bool { return true },
		Steps: func(ctx context.Context, _ chan<- struct{}) error {
			<-ctx.Done()
			return nil
		},
	})
	conf := parse(t, t.TempDir(), both)
	run(t, conf)
	send(t, dial(t, conf), "s", 1)
}
