package main

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/standpipe/standpipe/agent/admin"
	"github.com/standpipe/standpipe/cmd/standpipe/internal/cli"
)

// watchFor watches fetch for a time, in a bubble, and returns the output.
func watchFor(t *testing.T, d time.Duration, screen cli.Screen, fetch func(n int) (admin.Status, error)) (out string, err error) {
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		n := 0
		w := &watch{out: &b, screen: func() cli.Screen { return screen }, interval: 2 * time.Second, write: view{}.write, fetch: func(context.Context) (admin.Status, error) {
			n++
			return fetch(n)
		}}
		ctx, cancel := context.WithTimeout(t.Context(), d)
		defer cancel()
		err = w.run(ctx)
		out = b.String()
	})
	return out, err
}

// Each frame replaces the previous one, has no more lines than the terminal, and is complete before it is shown. At the end
// the terminal is as it was.
func TestWatch_DrawsFrames(t *testing.T) {
	out, err := watchFor(t, 7*time.Second, cli.Screen{Terminal: true, Columns: 80, Rows: 10}, func(int) (admin.Status, error) { return sampleStatus(), nil })
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(out, enterScreen) || !strings.HasSuffix(out, leaveScreen) {
		t.Errorf("got %q, want the alternate screen entered and left", out)
	}
	frames := strings.Split(strings.TrimSuffix(strings.TrimPrefix(out, enterScreen), leaveScreen), frameStart)[1:]
	if len(frames) != 4 {
		t.Fatalf("got %d frames in 7 s, want 4", len(frames))
	}
	for _, frame := range frames {
		if n := strings.Count(frame, "\n") + 1; n != 10 || !strings.HasSuffix(frame, frameEnd) || strings.Count(frame, lineEnd) != n {
			t.Errorf("got a frame of %d lines: %q", n, frame)
		}
		if !strings.Contains(frame, "every 2.0s; Ctrl-C ends") || !strings.Contains(frame, "agent  gateway-17") || !strings.Contains(frame, "lines more; see standpipe top") {
			t.Errorf("got %q", frame)
		}
	}
}

// While the agent does not respond, the last status stays, with its age.
func TestWatch_GoesOnWithoutTheAgent(t *testing.T) {
	out, err := watchFor(t, 9*time.Second, cli.Screen{}, func(n int) (admin.Status, error) {
		if n == 2 || n == 3 {
			return admin.Status{}, errors.New("no response from the agent")
		}
		return sampleStatus(), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"away   no response from the agent, for 0.0s\n       the status below is 2.0s old\nagent  gateway-17",
		"away   no response from the agent, for 2.0s\n       the status below is 4.0s old\nagent  gateway-17",
	} {
		if strings.Count(out, want) != 1 {
			t.Errorf("got %q\nwant once %q", out, want)
		}
	}
	if n := strings.Count(out, "agent  gateway-17"); n != 5 {
		t.Errorf("got %d statuses, want 5", n)
	}
	if strings.Contains(out, "\x1b") {
		t.Errorf("got control sequences in a file: %q", out)
	}
}

// An agent that has not responded yet is waited for; an invalid address is an error at once.
func TestWatch_FromTheStart(t *testing.T) {
	out, err := watchFor(t, 3*time.Second, cli.Screen{}, func(n int) (admin.Status, error) {
		if n == 1 {
			return admin.Status{}, errors.New("no response from the agent")
		}
		return sampleStatus(), nil
	})
	if err != nil || !strings.HasPrefix(out, "away   no response from the agent, for 0.0s\n\n") || !strings.Contains(out, "agent  gateway-17") {
		t.Errorf("got %q, %v", out, err)
	}
	invalid := &cli.ExitError{Code: cli.ExitUsage, Err: errors.New("address")}
	if _, err := watchFor(t, 3*time.Second, cli.Screen{}, func(int) (admin.Status, error) { return admin.Status{}, invalid }); !errors.Is(err, invalid) {
		t.Errorf("got %v, want %v", err, invalid)
	}
}

func TestWatch_Flags(t *testing.T) {
	for _, args := range []string{"--watch --json", "--watch --check", "--watch --cost", "--watch --interval 1ms", "--watch --address nowhere"} {
		if got := runWith(append([]string{"status"}, strings.Fields(args)...)...); got.code != 2 || got.stdout != "" {
			t.Errorf("status %s: got %+v, want exit code 2", args, got)
		}
	}
}
