//go:build linux

package wal_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	goSync "sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/standpipe/standpipe/test/testkit"
	"github.com/standpipe/standpipe/wal"
	"github.com/standpipe/standpipe/wal/deadletter"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

// upkeepWorkload names the environment variable for the data directory of a workload that rolls, compacts, truncates,
// sets segments aside and stores dead letters.
const upkeepWorkload = "STANDPIPE_WAL_UPKEEP_WORKLOAD"

func init() { workloads[upkeepWorkload] = keepUp }

const (
	upkeepKeys = 6
	// upkeepStuck is the key whose lane one of the destinations rarely settles, so that segments are compacted.
	upkeepStuck = "key0"
	// upkeepNumbers is a file beside the log with the number of each key's last event. The log may have lost that event
	// with a damaged segment.
	upkeepNumbers = "numbers"
)

func upkeepOptions(dir string) wal.Options {
	return wal.Options{Dir: dir, SegmentSize: 64 << 10, MaxSize: 16 << 20}.Rewriting()
}

// keepUp appends, settles and stores dead letters until it is killed, and prints each step after the log has confirmed
// it. It also prints the log lines, which name the segments that were truncated, compacted and set aside.
func keepUp(dir string) int {
	o := upkeepOptions(dir)
	o.Logger = hclog.New(&hclog.LoggerOptions{Level: hclog.Debug, Output: os.Stdout})
	l, err := wal.Open(context.Background(), o)
	if err != nil {
		fmt.Println("error", err)
		return 1
	}
	var group goSync.WaitGroup
	for _, step := range []func(*wal.Log) error{putAndDropLetters, settleAsTheyCome} {
		group.Go(func() { untilItFails(l, step) })
	}
	numbers, err := os.ReadFile(filepath.Join(filepath.Dir(dir), upkeepNumbers))
	if err != nil {
		fmt.Println("error", err)
		return 1
	}
	for k := range upkeepKeys {
		key := fmt.Sprint("key", k)
		next := numbersOf(numbers)[key] + 1
		group.Go(func() {
			untilItFails(l, func(l *wal.Log) error {
				b := upkeepBatch(key, next, 1+rand.IntN(8))
				_, err := l.Append(context.Background(), b)
				if err == nil {
					next += len(b.Events)
					fmt.Printf("acked %s %d\n", key, next-1)
				}
				return err
			})
		})
	}
	group.Wait()
	return 0
}

func untilItFails(l *wal.Log, step func(*wal.Log) error) {
	err := step(l)
	for ; err == nil || errors.Is(err, wal.ErrFull); err = step(l) {
	}
	fmt.Println("error", err)
	os.Exit(1)
}

func upkeepBatch(key string, next, n int) *wal.Batch {
	b := &wal.Batch{Stream: "s"}
	for i := range n {
		b.Events = append(b.Events, event(key, killText(key, next+i)))
	}
	return b
}

// progress is the state of a destination: the number of the last settled event of each key, and the count of settled
// events.
type progress struct {
	last  map[string]int
	total uint64
}

func progressOf(p *wal.Cursor) progress {
	done := progress{last: numbersOf(p.State())}
	done.total = uint64(done.last["total"])
	delete(done.last, "total")
	return done
}

func (d *progress) state() []byte {
	all := maps.Clone(d.last)
	all["total"] = int(d.total)
	return numbersText(all)
}

// numbersText returns one line for each number. numbersOf parses these lines.
func numbersText(numbers map[string]int) (text []byte) {
	for _, name := range slices.Sorted(maps.Keys(numbers)) {
		text = fmt.Appendf(text, "%s %d\n", name, numbers[name])
	}
	return text
}

func numbersOf(text []byte) map[string]int {
	numbers := make(map[string]int)
	for line := range strings.Lines(string(text)) {
		var name string
		var n int
		fmt.Sscanf(line, "%s %d", &name, &n)
		numbers[name] = n
	}
	return numbers
}

func unsettledEvents(l *wal.Log, p *wal.Cursor, lanes wal.LaneSet, from uint64) (events []wal.Event) {
	for {
		chunk, err := l.Read(p.Stream(), from, lanes, 1<<20)
		if err != nil {
			panic(err)
		}
		events = append(events, chunk.Events...)
		if from = chunk.Next; chunk.End {
			return events
		}
	}
}

// settleAsTheyCome settles all events for destination a. For b it settles all lanes but one, and sometimes that lane
// too. It then syncs the log.
func settleAsTheyCome(l *wal.Log) error {
	for _, name := range []string{"a", "b"} {
		p, err := place(l, "s", name)
		if err != nil {
			return err
		}
		stuck, next := wal.LaneOf(upkeepStuck), l.Next("s")
		done, count, lanes := progressOf(p), wal.Count{}, make(map[uint8]wal.Progress)
		if name == "a" || rand.IntN(20) == 0 {
			stuck = wal.Lanes
		}
		marks := p.Lanes()
		low := next
		for lane := range uint8(wal.Lanes) {
			if lane != stuck {
				lanes[lane] = wal.Progress{Checkpoint: next}
				low = min(low, marks[lane].Checkpoint)
			}
		}
		for _, e := range unsettledEvents(l, p, wal.AllLanes, low) {
			if e.Lane == stuck || e.Offset >= next || marks[e.Lane].Done(e.Offset) {
				continue
			}
			var n int
			fmt.Sscanf(string(e.Data), e.Key+" %d", &n)
			done.last[e.Key], done.total = n, done.total+1
			count.Add(wal.Count{Events: 1, Bytes: uint64(len(e.Data))})
		}
		if count.Events == 0 {
			continue
		}
		if err := p.Settle(wal.Settlement{Lanes: lanes, Add: wal.Ledger{Delivered: count}, State: done.state()}); err != nil {
			return err
		}
	}
	return l.Sync(context.Background())
}

// putAndDropLetters stores some large dead letters and drops most of them again, so that their file shrinks.
func putAndDropLetters(l *wal.Log) error {
	d := l.OpenDeadLetters(nil)
	defer d.Close()
	for range 4 {
		name := fmt.Sprint(rand.Uint64())
		err := d.Put(deadletter.Letter{Stream: "s", Destination: "a", Event: event(name, strings.Repeat("x", 280<<10)), Reason: "r"})
		if errors.Is(err, deadletter.ErrFull) {
			break
		}
		if err != nil {
			return err
		}
		fmt.Println("rejected", name)
	}
	letters, err := d.List(context.Background(), deadletter.Query{Limit: 100})
	if err != nil {
		return err
	}
	for _, letter := range letters[1:] {
		fmt.Println("dropping", letter.Key)
	}
	for _, letter := range letters[1:] {
		if _, err := d.Drop(letter.ID); err != nil {
			return err
		}
		fmt.Println("dropped", letter.Key)
	}
	return nil
}

// upkeepModel is the part of the log's state that is certain although the log loses power again and again.
type upkeepModel struct {
	acked   map[string]int  // by key, before the cut
	most    map[string]int  // by key, also after the cut
	late    bool            // the cut has begun
	letters map[string]bool // true: the letter is there; false: it may be there
	dropped map[string]uint64
	lossy   map[string]int // events up to these numbers may have been in damaged segments
	seen    map[string]int // the number of times that each step of upkeep was seen
}

var upkeepSteps = map[string]string{
	"truncated": "segment truncated", "rewritten": "segment compacted",
	"set aside": "set aside",
}

// line processes a line of the workload. ended: the workload's disk is gone.
func (m *upkeepModel) line(line string) (begun, ended bool) {
	verb, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
	switch verb {
	case "error":
		return false, true
	case "acked":
		var key string
		var n int
		fmt.Sscanf(rest, "%s %d", &key, &n)
		m.most[key] = max(m.most[key], n)
		if !m.late {
			m.acked[key] = max(m.acked[key], n)
		}
		return true, false
	case cutBegins:
		m.late = true
	case "rejected":
		m.letters[rest] = !m.late
	case "dropping":
		m.letters[rest] = false
	case "dropped":
		if !m.late {
			delete(m.letters, rest)
		}
	}
	for step, text := range upkeepSteps {
		if strings.Contains(line, text) {
			m.seen[step]++
		}
	}
	return false, false
}

// TestPowerLoss_InTheMiddleOfUpkeep cuts the power of a log that rolls, compacts and truncates segments all the time.
// In every other round, the log starts by setting aside a damaged segment and the damaged dead letters.
func TestPowerLoss_InTheMiddleOfUpkeep(t *testing.T) {
	rounds := *powerRounds
	switch {
	case rounds > 0:
	case testing.Short():
		rounds = 2
	default:
		rounds = 6
	}
	for _, way := range testkit.PowerCuts {
		t.Run(way.Name, func(t *testing.T) {
			t.Parallel()
			d, err := newDisk(t, t.TempDir(), way.Size, way.Mkfs)
			if err != nil {
				notTested(t, "a power loss amid upkeep, since no file system could be made", err)
				return
			}
			m := &upkeepModel{
				acked: make(map[string]int), letters: make(map[string]bool), dropped: make(map[string]uint64),
				lossy: make(map[string]int), seen: make(map[string]int),
			}
			for round := 0; round < rounds || rounds > 2 && m.lacksStep() && round < 20*rounds; round++ {
				if err := way.Attach(d); err != nil && round == 0 {
					notTested(t, "a power loss amid upkeep, since the file system could not be mounted", err)
					return
				} else if err != nil {
					t.Fatal(err)
				}
				m.round(t, d, way.Cut, round%2 == 1)
				if t.Failed() {
					t.Fatalf("round %d of %d", round, rounds)
				}
			}
			t.Logf("acked %v, %d letters, %v", m.acked, len(m.letters), m.seen)
			if rounds > 2 && m.lacksStep() {
				t.Errorf("some step is missing in %d rounds: got %v", 20*rounds, m.seen)
			}
		})
	}
}

// lacksStep reports whether some step of upkeep was not seen in any round so far: on a busy machine a round does
// little.
func (m *upkeepModel) lacksStep() bool {
	for step := range upkeepSteps {
		if m.seen[step] == 0 {
			return true
		}
	}
	return false
}

// round runs the workload until the power is cut, and checks the log. damage: the log is damaged before the workload
// opens it.
func (m *upkeepModel) round(t *testing.T, d *disk, cut func(d *disk) error, damage bool) {
	t.Helper()
	dir := filepath.Join(d.Mount, "data")
	if damage {
		m.lossy = maps.Clone(m.acked)
		if files := segmentsBeforeNewest(t, dir); len(files) > 0 {
			overwrite(t, files[rand.IntN(len(files))], 0, make([]byte, 8192))
		}
		letters := filepath.Join(dir, "dead.db")
		if _, err := os.Stat(letters); err == nil { // an earlier loss may have come before the file was synced
			overwrite(t, letters, 0, make([]byte, 8192))
		}
		clear(m.letters)
	}
	must(t, os.WriteFile(filepath.Join(d.Mount, upkeepNumbers), numbersText(m.acked), 0o600))
	must(t, run("sync", "-f", d.Mount))
	m.most, m.late = maps.Clone(m.acked), false
	gone := make(chan error, 1)
	runKilled(t, upkeepWorkload, dir, 400*time.Millisecond, func(v *victim) {
		gone <- v.cut(func() error { return cut(d) })
		v.Signal(syscall.SIGKILL)
	}, m.line)
	must(t, <-gone)
	d.LetGo()
	must(t, d.Attach())
	m.check(t, dir, damage)
	d.Detach()
}

// segmentsBeforeNewest returns the files of the segments before the one that takes events. A file behind that one may be
// ready for later events.
func segmentsBeforeNewest(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "wal", "*.seg"))
	must(t, err)
	markers, err := filepath.Glob(filepath.Join(dir, "wal", "*"+segment.MarkerSuffix))
	must(t, err)
	if len(markers) == 0 {
		return nil
	}
	newest := strings.TrimSuffix(slices.Max(markers), segment.MarkerSuffix)
	return slices.DeleteFunc(files, func(name string) bool { return strings.TrimSuffix(name, ".seg") >= newest })
}

// check opens the log and compares it with the model.
func (m *upkeepModel) check(t *testing.T, dir string, damaged bool) {
	t.Helper()
	l, err := wal.Open(t.Context(), upkeepOptions(dir))
	must(t, err)
	defer l.Close()
	for _, name := range []string{"a", "b"} {
		p, err := place(l, "s", name)
		must(t, err)
		done, st, lanes := progressOf(p), p.Stat(), p.Lanes()
		var pending wal.Count
		var appended uint64
		last := make(map[string]int)
		for k := range upkeepKeys {
			key := fmt.Sprint("key", k)
			lane := wal.LaneOf(key)
			at := done.last[key]
			for _, e := range readAll(t, l, "s", lanes[lane].Checkpoint, wal.LaneSet(0).With(lane)) {
				if e.Key != key {
					continue
				}
				var n int
				fmt.Sscanf(string(e.Data), key+" %d", &n)
				if string(e.Data) != killText(key, n) || n <= at || n > at+1 && n > m.lossy[key]+1 {
					t.Fatalf("%s: got %.40q after %s %d; up to %d events may be missing", name, e.Data, key, at, m.lossy[key])
				}
				at = n
				pending.Add(wal.Count{Events: 1, Bytes: uint64(len(e.Data))})
			}
			if at < m.acked[key] && m.acked[key] <= m.lossy[key] {
				at = m.acked[key] // in the damaged segment
			}
			if at < m.acked[key] || at > m.most[key]+8 {
				t.Errorf("%s: got %s up to %d, acked %d before the cut and %d in all, at most 8 were in flight", name, key, at, m.acked[key], m.most[key])
			}
			last[key] = at
			appended += uint64(at)
		}
		dropped := st.Dropped[wal.DroppedCorrupt].Events
		switch {
		case st.Pending != pending, st.Delivered.Events != done.total, st.Appended.Events != appended:
			t.Errorf("%s: got %+v; want %+v pending, %d delivered, %d appended", name, st, pending, done.total, appended)
		case !damaged && dropped != m.dropped[name]:
			t.Errorf("%s: got %d events dropped as corrupt, want %d", name, dropped, m.dropped[name])
		}
		m.dropped[name] = dropped
		if name == "b" {
			maps.Copy(m.acked, last)
		}
	}
	m.checkLetters(t, l)
}

func (m *upkeepModel) checkLetters(t *testing.T, l *wal.Log) {
	t.Helper()
	d := l.OpenDeadLetters(nil)
	defer d.Close()
	letters, err := d.List(t.Context(), deadletter.Query{Limit: 1000})
	must(t, err)
	found := make(map[string]bool)
	for _, letter := range letters {
		if letter.Damage != nil {
			t.Errorf("letter %d: %v", letter.ID, letter.Damage)
		}
		found[letter.Key] = true
	}
	for name, certain := range m.letters {
		if certain && !found[name] {
			t.Errorf("letter %s is gone", name)
		}
	}
	unknown := len(found)
	for name := range m.letters {
		if found[name] {
			unknown--
		}
	}
	if unknown > 1 { // one may have been in flight
		t.Errorf("got %d letters that were dropped, or never were", unknown)
	}
	clear(m.letters)
	for name := range found {
		m.letters[name] = true
	}
}
