package main

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/standpipe/standpipe/wal"
)

// validate --data-dir lists the destinations of a log that the file does not have, also beside a running agent.
func TestValidate_ListsParkedDestinations(t *testing.T) {
	dir := t.TempDir()
	path := writeConfig(t, goodConfig)
	if got := runWith("validate", "--data-dir", dir, path); got.code != 0 || !strings.Contains(got.stderr, "no log yet") {
		t.Errorf("got %+v without a log", got)
	}
	for place, want := range map[string]string{filepath.Join(dir, "none"): "no such folder", path: "a file"} {
		if got := runWith("validate", "--data-dir", place, path); got.code != 1 || !strings.Contains(got.stderr, fmt.Sprintf("--data-dir %q: %s; want", place, want)) {
			t.Errorf("got %+v, want %q with the place", got, want)
		}
	}
	l, err := wal.Open(context.Background(), wal.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, name := range []string{"one", "old", "older"} {
		if _, err := l.OpenCursor("clicks", name); err != nil {
			t.Fatal(err)
		}
	}
	at := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC).UnixNano()
	if _, err := l.Append(context.Background(), &wal.Batch{Stream: "clicks", Events: []wal.Event{{Key: "k", Data: []byte("12345"), Time: at}}}); err != nil {
		t.Fatal(err)
	}
	for _, p := range l.Cursors("clicks") {
		if p.Name() == "older" {
			p.Park()
		}
	}
	if err := l.Sync(context.Background()); err != nil {
		t.Fatal(err)
	}
	got := runWith("validate", "--data-dir", dir, path)
	for _, want := range []string{
		`destination "old" of stream "clicks" would be parked: the file does not have it; it holds 1 event (5 B), the oldest of ` + time.Unix(0, at).UTC().Format("2006-01-02 15:04 UTC") + ", and gets no others",
		`destination "older" of stream "clicks" is parked since `,
	} {
		if got.code != 0 || !strings.Contains(got.stderr, want) {
			t.Errorf("got %+v, want %q", got, want)
		}
	}
	if strings.Contains(got.stderr, `"one"`) || strings.Count(got.stderr, "\n") != 2 {
		t.Errorf("got %q, want two lines", got.stderr)
	}
	got = runWith("validate", "--json", "--data-dir", dir, path)
	var result struct {
		OK     bool
		Parked []struct {
			Stream, Destination string
			ParkedAt            string `json:"parked_at"`
			Events, Bytes       uint64
			Oldest              time.Time
		}
	}
	if err := json.Unmarshal([]byte(got.stdout), &result); err != nil || got.code != 0 || !result.OK || len(result.Parked) != 2 {
		t.Fatalf("got %+v, %v, want two destinations", got, err)
	}
	old, older := result.Parked[0], result.Parked[1]
	if old.Stream != "clicks" || old.Destination != "old" || old.ParkedAt != "" || old.Events != 1 || old.Bytes != 5 || old.Oldest.UnixNano() != at || older.ParkedAt == "" {
		t.Errorf("got %+v and %+v", old, older)
	}
}
