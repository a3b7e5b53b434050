package agent

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/standpipe/standpipe/agent/config"
)

// The reference names the same settings as the warning of a reload.
func TestNeedRestart_AgreesWithTheSchema(t *testing.T) {
	want := make(map[string]bool)
	for _, section := range config.Describe() {
		for _, s := range section.Settings {
			if s.Restart {
				top, _, _ := strings.Cut(s.Path, ".")
				if top == "wal" {
					top = s.Path // the block has settings of both kinds
				}
				want[top] = true
			}
		}
	}
	from := config.Dev("a")
	to := &config.Config{Memory: 1, WAL: config.WAL{MaxAge: time.Hour, Checkpoints: 1}}
	got := needRestart(from, to)
	slices.Sort(got)
	if !slices.Equal(got, slices.Sorted(maps.Keys(want))) {
		t.Errorf("got %v, want %v", got, slices.Sorted(maps.Keys(want)))
	}

	to = config.Dev("a")
	to.WAL.MaxSize, to.WAL.OnFull, to.WAL.MinFree.Bytes = 1<<20, "block", 1
	to.WAL.Linger = config.Linger{Commit: 1, Accepted: 2}
	to.WAL.MaxAge, to.LogLevel, to.ShutdownTimeout, to.Bandwidth, to.Streams = time.Hour, "trace", time.Hour, 1, nil
	if got := needRestart(from, to); len(got) > 0 {
		t.Errorf("got %v, want none", got)
	}
}
