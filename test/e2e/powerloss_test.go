//go:build linux

package e2e_test

import (
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/standpipe/standpipe/test/testkit"
	"github.com/standpipe/standpipe/wal"
)

// powerRun is an agent that loses power again and again while it ships to files on the same disk.
type powerRun struct {
	*agent
	t     *testing.T
	disk  *testkit.Disk
	acked map[int]uint64 // the offset of each event that was acked before the cut, by number
	next  int            // number
	cut   uint64         // events that counted as delivered after the last cut
}

// TestPowerLoss_OfAFileDestination cuts the power of an agent with a file destination. After each cut every event that the
// log counts as delivered is in a file, and no event is in two finished files or twice in one. In the end each acked event
// is in a finished file, once, and the ledger adds up.
func TestPowerLoss_OfAFileDestination(t *testing.T) {
	endToEnd(t)
	for _, way := range testkit.PowerCuts {
		t.Run(way.Name, func(t *testing.T) {
			t.Parallel()
			d, err := testkit.NewDisk(t, t.TempDir(), way.Size, way.Mkfs)
			if err == nil {
				err = way.Attach(d)
			}
			if err != nil {
				testkit.NotTested(t, "a file destination's power loss, since no file system could be mounted", err)
				return
			}
			r := &powerRun{t: t, disk: d, acked: make(map[int]uint64)}
			r.agent = newAgent(t, "wal {\n  segment_size = \"256KiB\"\n}\n", "")
			r.head = strings.Replace(r.head, r.path("data"), filepath.Join(d.Mount, "data"), 1)
			r.configure(streamBlock("s", fmt.Sprintf(`
  destination "file" "f" {
    path          = %q
    roll_size     = "64KiB"
    roll_interval = "1s"
    batch { max_delay = "20ms" }
  }`, filepath.Join(d.Mount, "deep", "out"))))
			for round := range number(t, "STANDPIPE_E2E_POWER_ROUNDS", 4) {
				if round > 0 {
					testkit.Must(t, way.Attach(d))
				}
				r.round(way.Cut)
				if t.Failed() {
					t.Fatalf("in round %d", round)
				}
			}
			if r.cut == 0 {
				t.Error("nothing was delivered before a cut; nothing was tested")
			}
			testkit.Must(t, d.Attach())
			r.end()
		})
	}
}

// round appends until the power is cut, and checks the remaining files.
func (r *powerRun) round(cut func(*testkit.Disk) error) {
	r.t.Helper()
	r.start()
	produced := make(chan struct{})
	var cutting atomic.Bool // a sync that is under way while the file system is shut down may return success
	client := r.dial()
	go func() {
		defer close(produced)
		pad := strings.Repeat("x", 1000)
		for {
			var events []event
			first := r.next
			for range 1 + rand.IntN(10) {
				events = append(events, event{fmt.Sprint("k", r.next%7), fmt.Sprintf(`{"n":%d,"p":%q}`, r.next, pad)})
				r.next++
			}
			answer, err := client.Append(context.Background(), request("s", events...))
			if err != nil || cutting.Load() {
				return
			}
			for i := range events {
				r.acked[first+i] = answer.FirstOffset + uint64(i)
			}
		}
	}()
	<-time.After(time.Duration(500+rand.IntN(1500)) * time.Millisecond) // the moment of the cut
	cutting.Store(true)
	testkit.Must(r.t, cut(r.disk))
	r.kill()
	<-produced
	r.disk.LetGo()
	testkit.Must(r.t, r.disk.Attach())
	finished, all := r.held()
	st := r.cursor()
	r.t.Logf("%d acked, %d delivered, %d in finished files, %d in all files", len(r.acked), st.Delivered.Events, len(finished), len(all))
	r.cut = st.Delivered.Events
	if st.Delivered.Events > uint64(len(all)) {
		r.t.Errorf("got %d events counted as delivered, %d are in files", st.Delivered.Events, len(all))
	}
	for n, offset := range r.acked {
		switch {
		case offset < st.Checkpoint && all[n] == 0:
			r.t.Errorf("event %d counts as delivered and is in no file", n)
		case offset >= st.Checkpoint && finished[n] > 0:
			r.t.Errorf("event %d is in a finished file and will be delivered again", n)
		}
	}
	r.disk.Detach()
}

// cursor returns the ledger of the log on the disk.
func (r *powerRun) cursor() wal.CursorStat {
	r.t.Helper()
	l, err := wal.Open(r.t.Context(), wal.Options{Dir: filepath.Join(r.disk.Mount, "data"), SegmentSize: 256 << 10})
	testkit.Must(r.t, err)
	defer l.Close()
	cursors := l.Cursors("s")
	if len(cursors) != 1 {
		r.t.Fatalf("got %d cursors, want 1", len(cursors))
	}
	return cursors[0].Stat()
}

// held returns how often each event is in finished files, and in all of them.
func (r *powerRun) held() (finished, all map[int]int) {
	r.t.Helper()
	finished, all = make(map[int]int), make(map[int]int)
	err := filepath.WalkDir(filepath.Join(r.disk.Mount, "deep"), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		for line := range strings.Lines(string(text)) {
			var n int
			if _, err := fmt.Sscanf(line, `{"n":%d,`, &n); err != nil || !strings.HasSuffix(line, "\"}\n") {
				if strings.HasSuffix(path, ".jsonl") {
					r.t.Errorf("%s: got the line %.40q", path, line)
				}
				continue
			}
			all[n]++
			if strings.HasSuffix(path, ".jsonl") {
				if finished[n]++; finished[n] > 1 {
					r.t.Errorf("event %d is in finished files twice", n)
				}
			}
		}
		return err
	})
	testkit.Must(r.t, err)
	return finished, all
}

// end lets everything arrive.
func (r *powerRun) end() {
	r.t.Helper()
	r.start()
	appended := r.stream("s").Appended.Events
	r.waitDelivered("s", int(appended), time.Minute)
	r.stop()
	finished, all := r.held()
	st := r.cursor()
	if len(all) != len(finished) || uint64(len(finished)) != appended || st.Delivered.Events != appended || st.Pending.Events > 0 {
		r.t.Errorf("got %d events in finished files of %d in all, want %d; ledger %+v", len(finished), len(all), appended, st)
	}
	for n := range r.acked {
		if finished[n] != 1 {
			r.t.Errorf("event %d is in finished files %d times, want once", n, finished[n])
		}
	}
	r.disk.Detach()
}
