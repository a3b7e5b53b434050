//go:build unix

package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/standpipe/standpipe/client"
	"github.com/standpipe/standpipe/test/testkit"
)

// A range is sent to Kinesis again: the same IDs, in the order of each key, beside live events that arrive once.
func TestReplay_SendsARangeAgain(t *testing.T) {
	endToEnd(t)
	t.Parallel()
	k := startKinesalite(t)
	k.create("clicks", 3)
	block := strings.Replace(kinesisDestination(k.endpoint()), "aggregate = ", "envelope  = true\n    aggregate = ", 1)
	a := startAgent(t, "wal {\n  retain = \"1h\"\n  segment_size = \"1MiB\"\n}\n", streamBlock("clicks", block+fileDestination))
	c, err := client.Dial(a.grpc, client.Options{})
	testkit.Must(t, err)
	defer c.Close()
	const n, keys = 2000, 7
	put := func(ctx context.Context, from, to int) {
		for i := from; i < to; i++ {
			_, err := c.Append(ctx, "clicks", client.Event{Key: fmt.Sprint("k", i%keys), Data: fmt.Appendf(nil, `{"n":%d,"pad":%q}`, i, strings.Repeat("x", 2000))})
			testkit.Must(t, err)
		}
	}
	put(t.Context(), 1, n+1)
	a.waitDelivered("clicks", n, time.Minute)
	a.standpipe(t, "replay", "clicks", "--destination", "live", "--from", "101", "--to", "1101", "--detach")
	put(t.Context(), n+1, n+201) // live
	a.waitDelivered("clicks", n+200, time.Minute)
	var result struct {
		State            string
		Events, Rejected uint64
		Offset           uint64
	}
	testkit.Eventually(t, time.Minute, func() error {
		testkit.Must(t, json.Unmarshal([]byte(a.standpipe(t, "replay", "clicks", "--destination", "live", "--status", "--json")), &result))
		if result.State == "running" {
			return fmt.Errorf("got %+v", result)
		}
		return nil
	})
	if result.State != "done" || result.Events != 1000 || result.Offset != 1101 || result.Rejected != 0 {
		t.Errorf("got %+v, want 1,000 events up to offset 1101", result)
	}
	out := a.standpipe(t, "replay", "clicks", "--destination", "live", "--from", "101", "--to", "201", "--key", "k3")
	if !strings.Contains(out, "replay done: 15 events") {
		t.Errorf("a key: got %q, want 15 events", out)
	}

	got, _ := k.read("clicks")
	times, ids := make(map[int]int), make(map[int]string)
	last := make(map[string]int)
	for _, e := range got {
		var line struct {
			ID   string
			Data struct{ N int }
		}
		testkit.Must(t, json.Unmarshal([]byte(e.data), &line))
		i := line.Data.N
		if times[i]++; times[i] > 1 {
			if line.ID != ids[i] {
				t.Fatalf("event %d has the ID %s, and %s when it was sent again", i, ids[i], line.ID)
			}
			continue
		}
		if ids[i] = line.ID; last[e.key] >= i {
			t.Errorf("key %s: event %d came after %d", e.key, i, last[e.key])
		}
		last[e.key] = i
	}
	for i := 1; i <= n+200; i++ {
		want := 1
		if i >= 101 && i <= 1100 {
			want++
		}
		if i >= 101 && i <= 200 && i%keys == 3 {
			want++
		}
		if times[i] != want {
			t.Errorf("event %d came %d times, want %d", i, times[i], want)
		}
	}

	for _, refused := range []struct{ args, why string }{
		{"--destination local --from oldest", "takes no replay: its files are in the order of the offsets"},
		{"--destination live --from 99999", "beyond the end of the stream"},
		{"--destination live --from 5 --to 5", "it is empty"},
		{"--destination none --from 1", "none"},
	} {
		code, _, stderr := runProgram(t, "", append([]string{"replay", "clicks", "--address", a.admin}, strings.Fields(refused.args)...)...)
		if code != 1 || !strings.Contains(stderr, refused.why) {
			t.Errorf("%s: got exit code %d and %q, want %q", refused.args, code, stderr, refused.why)
		}
	}
}
