package wal_test

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	goSync "sync"
	"syscall"
	"testing"
	"time"

	"github.com/standpipe/standpipe/wal"
)

var killRounds = flag.Int("kill.rounds", 0, "how often the kill test kills; 0: 15, with CI set 50, with -short 5")

// killWorkload names the environment variable for the data directory of a workload.
const killWorkload = "STANDPIPE_WAL_KILL_WORKLOAD"

// workloads maps an environment variable to the program that this test binary runs, instead of the tests, if the
// variable names a data directory.
var workloads = map[string]func(dir string) int{
	killWorkload: workload, resendWorkload: resend, stepsWorkload: steps, shortWorkload: shortOf, openWorkload: openOnly,
}

func TestMain(m *testing.M) {
	for variable, run := range workloads {
		if dir := os.Getenv(variable); dir != "" {
			os.Exit(run(dir))
		}
	}
	os.Exit(m.Run())
}

func killOptions(dir string) wal.Options {
	return wal.Options{Dir: dir, SegmentSize: 256 << 10}
}

// workload appends from several goroutines until it is killed. Each event's text is its key and a number that rises by
// one within the key. After each ack, the workload prints the key and the last acked number.
func workload(dir string) int {
	l, err := wal.Open(context.Background(), killOptions(dir))
	if err != nil {
		fmt.Println("error", err)
		return 1
	}
	var out goSync.Mutex
	var group goSync.WaitGroup
	for w := range 6 {
		group.Go(func() {
			key := fmt.Sprint("key", w)
			next := lastOf(l, key) + 1
			for {
				b := killBatch(key, next, 1+rand.IntN(8))
				if _, err := l.Append(context.Background(), b); err != nil {
					fmt.Println("error", err)
					os.Exit(1)
				}
				next += len(b.Events)
				out.Lock()
				fmt.Printf("%s %d\n", key, next-1)
				out.Unlock()
			}
		})
	}
	group.Go(func() {
		for {
			next := int(l.Next("fleet"))
			key := fmt.Sprint("fleet", next%fleetSize)
			if _, err := l.Append(context.Background(), fleetBatch(key, next)); err != nil {
				fmt.Println("error", err)
				os.Exit(1)
			}
			out.Lock()
			fmt.Printf("%s %d\n", key, next)
			out.Unlock()
		}
	})
	group.Wait()
	return 0
}

// fleetSize is the number of producers of the workload. A new segment gets their entries in several commits.
const fleetSize = 200

// fleetBatch is a batch of one of these producers. It is numbered by its offset.
func fleetBatch(key string, n int) *wal.Batch {
	b := killBatch(key, n, 1)
	b.ProducerID, b.ProducerSequence, b.ProducerNext = key+strings.Repeat("p", 1000), uint64(n), uint64(n)+1
	return b
}

func killBatch(key string, next, n int) *wal.Batch {
	b := &wal.Batch{Stream: "stream" + key[len(key)-1:]}
	switch {
	case strings.HasPrefix(key, "fleet"):
		b.Stream = "fleet"
	case b.Stream > "stream2":
		b.Stream = "shared"
	}
	for i := range n {
		b.Events = append(b.Events, event(key, killText(key, next+i)))
	}
	return b
}

func killText(key string, n int) string {
	return fmt.Sprintf("%s %d ", key, n) + strings.Repeat("x", n*37%3000)
}

// lastOf returns the highest number of the key that the log holds or has held. The cursor's state has the highest
// settled numbers.
func lastOf(l *wal.Log, key string) int {
	stream := killBatch(key, 0, 0).Stream
	last := 0
	if p, err := place(l, stream, "d"); err == nil {
		last = settledOf(p)[key]
	}
	for from := uint64(1); ; {
		chunk, err := l.Read(stream, from, wal.LaneSet(0).With(wal.LaneOf(key)), 1<<20)
		if err != nil {
			panic(err)
		}
		for i := range chunk.Events {
			if chunk.Events[i].Key == key {
				fmt.Sscanf(string(chunk.Events[i].Data), key+" %d", &last)
			}
		}
		if from = chunk.Next; chunk.End {
			return last
		}
	}
}

// settledOf returns the highest settled number of each key, from the cursor's state.
func settledOf(p *wal.Cursor) map[string]int {
	settled := make(map[string]int)
	for line := range strings.Lines(string(p.State())) {
		var key string
		var n int
		fmt.Sscanf(line, "%s %d", &key, &n)
		settled[key] = n
	}
	return settled
}

func TestKill_AckedEventsOutliveIt(t *testing.T) {
	rounds := *killRounds
	switch {
	case rounds > 0:
	case testing.Short():
		rounds = 5
	case os.Getenv("CI") != "":
		rounds = 50
	default:
		rounds = 15
	}
	dir := t.TempDir()
	acked := make(map[string]int)
	for round := range rounds {
		most := killRound(t, dir, acked, func(v *victim) { v.Signal(syscall.SIGKILL) })
		checkKilled(t, dir, acked, most)
		if t.Failed() {
			t.Fatalf("round %d of %d", round, rounds)
		}
	}
	total := 0
	for key, n := range acked {
		if !strings.HasPrefix(key, "fleet") {
			total += n
		}
	}
	t.Logf("%d events acked in %d rounds", total, rounds)
}

// killRound runs the workload and ends it at a random moment. It adds the numbers that were acked before a power cut to
// acked, and returns all that were acked.
func killRound(t *testing.T, dir string, acked map[string]int, end func(v *victim)) (most map[string]int) {
	t.Helper()
	most = maps.Clone(acked)
	late := false
	runKilled(t, killWorkload, dir, 150*time.Millisecond, end, func(line string) (begun, ended bool) {
		var key string
		var n int
		switch fmt.Sscanf(line, "%s %d", &key, &n); key {
		case "error": // its disk was removed
			return true, true
		case cutBegins:
			late = true
			return true, false
		}
		most[key] = max(most[key], n)
		if !late {
			acked[key] = max(acked[key], n)
		}
		return true, false
	})
	return most
}

// victim is a workload that will be ended.
type victim struct {
	*os.Process
	output *os.File
}

// cutBegins is the line in a workload's output before which all acks must outlive a power cut. Later ones need not: a sync
// that is under way while a file system is shut down may return success although it wrote nothing.
const cutBegins = "cut"

// cut writes the line and then cuts the power. The output is a pipe, which keeps the order of the lines.
func (v *victim) cut(power func() error) error {
	_, _ = fmt.Fprintln(v.output, cutBegins) // an error: the workload has ended, and acks no more
	return power()
}

// runKilled runs a workload in a separate process and passes each line that it prints to take. After the first line for
// which take returns begun, it waits for a random time below most and calls end.
func runKilled(t *testing.T, workload, dir string, most time.Duration, end func(v *victim), take func(line string) (begun, ended bool)) {
	t.Helper()
	stdout, output, err := os.Pipe()
	must(t, err)
	defer stdout.Close()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), workload+"="+dir)
	cmd.Stdout = output
	must(t, cmd.Start())
	exited := make(chan struct{})
	go func() {
		defer close(exited)
		cmd.Wait()
		output.Close() // the end of the lines
	}()
	// The time runs from the first such line, not from the start of the process, which may be slow.
	lines := bufio.NewReader(stdout)
	var kill *time.Timer
	for {
		line, err := lines.ReadString('\n')
		if err == io.EOF { // a line without its end was cut off by the kill
			break
		}
		begun, ended := take(line)
		if kill == nil && begun {
			kill = time.AfterFunc(rand.N(most), func() { end(&victim{cmd.Process, output}) })
		}
		if ended {
			break
		}
	}
	cmd.Process.Kill()
	<-exited
	if kill == nil {
		t.Fatal("the workload acked nothing")
	}
}

// checkKilled opens the log, checks that all acked events are there once, in order and exact, and settles a part of
// them. Events up to the numbers in most may be there too, and those that were in flight then.
func checkKilled(t *testing.T, dir string, acked, most map[string]int) {
	t.Helper()
	l, err := wal.Open(t.Context(), killOptions(dir))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for key, n := range acked {
		if !strings.HasPrefix(key, "fleet") {
			continue
		}
		if got, err := l.Append(bg, fleetBatch(key, n)); err != nil || !got.Duplicate {
			t.Errorf("got %+v, %v for batch %d of %s, which was acked, want a duplicate", got, err, n, key)
		}
	}
	fleet, err := place(l, "fleet", "d")
	must(t, err)
	settleAll(l, fleet, fleet.Stat().Pending)
	for _, stream := range []string{"stream0", "stream1", "stream2", "shared"} {
		p, err := place(l, stream, "d")
		if err != nil {
			t.Fatal(err)
		}
		seen := settledOf(p)
		checkpoint := p.Stat().Checkpoint
		var pending wal.Count
		next := checkpoint
		for _, e := range readAll(t, l, stream, checkpoint, wal.AllLanes) {
			seen[e.Key]++
			if want := killText(e.Key, seen[e.Key]); string(e.Data) != want || e.Offset != next {
				t.Errorf("%s %d: got %.40q at %d, want %.40q", stream, next, e.Data, e.Offset, want)
			}
			next++
			pending.Add(wal.Count{Events: 1, Bytes: uint64(len(e.Data))})
		}
		for key, n := range acked {
			if killBatch(key, 0, 0).Stream == stream && (seen[key] < n || seen[key] > most[key]+8) {
				t.Errorf("%s: got events up to %d, acked %d before the end and %d in all, at most 8 were in flight", key, seen[key], n, most[key])
			}
			if killBatch(key, 0, 0).Stream == stream {
				acked[key] = seen[key]
			}
		}
		if st := p.Stat(); st.Pending != pending || st.Appended.Events != next-1 {
			t.Errorf("%s: got %+v, want %+v pending of %d", stream, st, pending, next-1)
		}
		settleSome(t, l, p)
	}
}

// settleSome settles the first half of the pending events.
func settleSome(t *testing.T, l *wal.Log, p *wal.Cursor) {
	t.Helper()
	from := p.Stat().Checkpoint
	until := from + (l.Next(p.Stream())-from)/2
	settled, count := settledOf(p), wal.Count{}
	for _, e := range readAll(t, l, p.Stream(), from, wal.AllLanes) {
		if e.Offset < until {
			settled[e.Key]++
			count.Add(wal.Count{Events: 1, Bytes: uint64(len(e.Data))})
		}
	}
	var state strings.Builder
	for key, n := range settled {
		fmt.Fprintf(&state, "%s %d\n", key, n)
	}
	marks := make(map[uint8]wal.Progress)
	for lane := range uint8(wal.Lanes) {
		marks[lane] = wal.Progress{Checkpoint: until}
	}
	p.Settle(wal.Settlement{Lanes: marks, Add: wal.Ledger{Delivered: count}, State: []byte(state.String())})
}
