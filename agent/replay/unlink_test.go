package replay_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/standpipe/standpipe/agent/admin"
	"github.com/standpipe/standpipe/agent/config"
	"github.com/standpipe/standpipe/agent/replay"
	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/test/draw"
	"github.com/standpipe/standpipe/wal"
)

// diskRig is a runner on a log on disk, with a destination that ships live events too.
type diskRig struct {
	*replay.Runner
	log    *wal.Log
	cursor *wal.Cursor // of live delivery
	live   *sink
	slow   *sink // of the replay
	seed   uint64
}

// newDiskRig returns a rig with a log of those options.
func newDiskRig(t *testing.T, o wal.Options, seed uint64) *diskRig {
	t.Helper()
	l, err := wal.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	cursor, err := l.OpenCursor("s", "live")
	if err != nil {
		t.Fatal(err)
	}
	g := &diskRig{log: l, cursor: cursor, seed: seed, live: &sink{r: rand.New(rand.NewPCG(seed, 1))}, slow: &sink{r: rand.New(rand.NewPCG(seed, 2))}}
	s := shipper.New(shipper.Options{Source: l, Cursor: cursor, Sink: g.live, Logger: hclog.NewNullLogger()})
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	g.Runner = replay.New(replay.Options{Log: wal.History{Log: l}, Logger: hclog.NewNullLogger(), Find: func(string, string) (replay.Target, error) {
		return replay.Target{
			Conf: config.Destination{Type: "kinesis", Name: "live"}, Live: s.Report, Left: make(chan struct{}), Stopping: make(chan struct{}),
			Open: func(context.Context) (shipper.Sink, error) { return g.slow, nil },
		}, nil
	}})
	t.Cleanup(func() {
		g.Stop()
		stop()
		<-ended
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return g
}

// append appends a batch of n events, and requires it to wait for nothing but the disk, whose time is none in a bubble.
func (g *diskRig) append(t *testing.T, n, bytes int) {
	t.Helper()
	b := &wal.Batch{Stream: "s"}
	for i := range uint64(n) {
		offset := g.log.Next("s") + i
		key := fmt.Sprint("k", offset%20)
		b.Events = append(b.Events, wal.Event{Key: key, Lane: wal.LaneOf(key), Time: time.Now().UnixNano(), Data: fmt.Appendf(nil, "%-*d", bytes, offset)})
	}
	begin := time.Now()
	if _, err := g.log.Append(t.Context(), b); err != nil {
		t.Fatalf("seed %d: append at offset %d: %v, with %+v", g.seed, g.log.Next("s"), err, g.log.Stat())
	}
	if waited := time.Since(begin); waited > 100*time.Millisecond {
		t.Fatalf("seed %d: an append at offset %d has waited for %v", g.seed, g.log.Next("s"), waited)
	}
}

// oldest returns the offset of the oldest event in the log.
func (g *diskRig) oldest(t *testing.T) uint64 {
	t.Helper()
	chunk, err := wal.History{Log: g.log}.Read("s", 1, wal.AllLanes, 1)
	if err != nil || len(chunk.Events) == 0 {
		t.Fatalf("seed %d: got %+v, %v, want the oldest event", g.seed, chunk, err)
	}
	return chunk.Events[0].Offset
}

// delivered waits until live delivery has taken every event.
func (g *diskRig) delivered(t *testing.T) {
	t.Helper()
	for range 6000 {
		if g.cursor.Stat().Pending.Events == 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("seed %d: live delivery has %+v after a minute", g.seed, g.cursor.Stat())
}

// end waits until the replay has ended.
func (g *diskRig) end(t *testing.T) admin.Replay {
	t.Helper()
	for range 3600 {
		got, err := g.Get("s", "live")
		if err != nil {
			t.Fatal(err)
		}
		if got.State != admin.ReplayRunning {
			return got
		}
		time.Sleep(time.Second)
	}
	t.Fatalf("seed %d: the replay does not end within an hour", g.seed)
	return admin.Replay{}
}

// leftBehind returns the descriptors and mappings of this process of files in a folder that were removed. It knows those of Linux.
func leftBehind(folder string) (left []string) {
	fds, _ := filepath.Glob("/proc/self/fd/*")
	for _, fd := range fds {
		if to, err := os.Readlink(fd); err == nil && strings.HasPrefix(to, folder) && strings.HasSuffix(to, " (deleted)") {
			left = append(left, to)
		}
	}
	maps, _ := os.ReadFile("/proc/self/maps")
	for line := range strings.Lines(string(maps)) {
		if line = strings.TrimSpace(line); strings.Contains(line, folder) && strings.HasSuffix(line, " (deleted)") {
			left = append(left, line)
		}
	}
	return left
}

// Appends reach max_size while a replay of retained events is under way. The segments that it has not read go, no append and no live
// event waits for it, and it ends with the offset from which another replay sends the rest.
func TestReplay_OfSegmentsThatAreUnlinkedMeanwhile(t *testing.T) {
	seed := draw.Seed(t)
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) { replaysUnlinkedSegments(t, dir, seed) })
}

func replaysUnlinkedSegments(t *testing.T, dir string, seed uint64) {
	const (
		bytes = 16 << 10
		batch = 32
		read  = 320 // more events than a replay holds in memory
	)
	r := rand.New(rand.NewPCG(seed, 0))
	o := wal.Options{Dir: dir, MaxSize: 10<<20 + r.Int64N(2<<20), SegmentSize: 512<<10 + r.Int64N(1<<20), Retain: time.Hour}
	g := newDiskRig(t, o, seed)
	for range o.MaxSize / bytes / batch {
		g.append(t, batch, bytes)
		g.delivered(t)
	}
	g.slow.before = func() { time.Sleep(5 * time.Second) }
	begun, err := g.Start(t.Context(), "s", "live", admin.ReplayRequest{FromOldest: true})
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Duration(r.IntN(5)) * time.Second)
	for unlinked := begun.From + read + r.Uint64N(read); g.oldest(t) < unlinked; {
		g.append(t, 1+r.IntN(2*batch), bytes)
		g.delivered(t)
	}
	if now, _ := g.Get("s", "live"); now.State != admin.ReplayRunning {
		t.Fatalf("seed %d: got %+v before the last append, want a replay that is under way", seed, now)
	}

	got := g.end(t)
	from, last, next := uint64(0), uint64(0), g.log.Next("s")
	whole := fmt.Sprintf("events from offset %d up to %d, the end of the range, are gone from the log", got.Offset, begun.To-1)
	if got.Error == whole {
		from = got.Offset
	} else if _, err := fmt.Sscanf(got.Error, "events from offset %d up to %d are gone from the log; a replay may go on from offset %d", &from, &last, &next); err != nil {
		t.Fatalf("seed %d: got %+v, want the events that are gone", seed, got)
	}
	if got.State != admin.ReplayFailed || got.Offset != from || got.Error != whole && (last != next-1 || from >= next || next >= begun.To) {
		t.Errorf("seed %d: got %+v, want an end where events are gone", seed, got)
	}
	// Lanes may be read to different offsets, so events behind the gap may have been sent too.
	sent := make(map[uint64]int)
	for _, payload := range g.slow.stored {
		offset, err := strconv.ParseUint(strings.TrimSpace(payload), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		if sent[offset]++; sent[offset] > 1 {
			t.Errorf("seed %d: offset %d was sent twice", seed, offset)
		}
	}
	if len(g.slow.stored) != int(got.Events) {
		t.Errorf("seed %d: got %d events, and %d were sent", seed, got.Events, len(g.slow.stored))
	}
	for offset := begun.From; offset < from; offset++ {
		if sent[offset] == 0 {
			t.Errorf("seed %d: offset %d was not sent, although the replay ended at offset %d", seed, offset, from)
		}
	}
	if _, err := g.Start(t.Context(), "s", "live", admin.ReplayRequest{FromOffset: max(from, min(next, begun.To)-1)}); !errors.Is(err, admin.ErrRange) {
		t.Errorf("seed %d: from an offset that is gone: got %v, want %v", seed, err, admin.ErrRange)
	}
	if got.Error != whole {
		g.slow.before = nil
		if _, err := g.Start(t.Context(), "s", "live", admin.ReplayRequest{FromOffset: next}); err != nil {
			t.Fatalf("seed %d: from offset %d: %v", seed, next, err)
		}
		if rest := g.end(t); rest.State != admin.ReplayDone || rest.Events != g.log.Next("s")-next {
			t.Errorf("seed %d: got %+v, want all from offset %d to %d", seed, rest, next, g.log.Next("s"))
		}
	}
	for range 60 {
		if len(leftBehind(dir)) == 0 {
			break
		}
		time.Sleep(time.Second)
	}
	if left := leftBehind(dir); len(left) > 0 {
		t.Errorf("seed %d: got %q of removed segments", seed, left)
	}
}
