//go:build unix

package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	standpipev1 "github.com/standpipe/standpipe/proto/standpipe/v1"
	"github.com/standpipe/standpipe/test/draw"
	"github.com/standpipe/standpipe/test/testkit"
)

// moody is a Firehose that hangs, limps, fails or responds, as the test sets it, and records the events that it holds.
type moody struct {
	*httptest.Server

	mu   sync.Mutex
	rand *rand.Rand // guarded by mu, as all below
	mood mood
	held map[string]map[int]bool // the numbers of the events, by the agent's stream
}

type mood int

const (
	well    mood = iota
	hung         // no answer, and some of it is stored
	limping      // answers after up to 2 s
	failing      // 503
	partly       // some of the records fail
	silent       // all is stored, and the connection is reset before the reply
	moods
)

func startMoody(t *testing.T, seed uint64) *moody {
	m := &moody{rand: rand.New(rand.NewPCG(seed, 4)), held: make(map[string]map[int]bool)}
	m.Server = httptest.NewServer(m)
	t.Cleanup(func() { m.CloseClientConnections(); m.Close() })
	return m
}

func (m *moody) turn(to mood) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mood = to
}

func (m *moody) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var put struct {
		DeliveryStreamName string
		Records            []struct{ Data []byte }
	}
	if err != nil || json.Unmarshal(body, &put) != nil {
		return
	}
	m.mu.Lock()
	mood, coin, wait := m.mood, m.rand.IntN(2) == 0, time.Duration(m.rand.IntN(2000))*time.Millisecond
	m.mu.Unlock()
	switch {
	case mood == failing:
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	case mood == limping:
		select {
		case <-time.After(wait):
		case <-r.Context().Done():
		}
	case mood == hung && !coin:
		<-r.Context().Done()
		return
	}
	stream, _, _ := strings.Cut(put.DeliveryStreamName, "-")
	results, failed := make([]map[string]string, len(put.Records)), 0
	m.mu.Lock()
	for i, record := range put.Records {
		if results[i] = map[string]string{"RecordId": strconv.Itoa(i)}; mood == partly && m.rand.IntN(3) == 0 {
			results[i], failed = map[string]string{"ErrorCode": "ServiceUnavailableException", "ErrorMessage": "slow"}, failed+1
			continue
		}
		m.keepLocked(stream, record.Data)
	}
	m.mu.Unlock()
	switch mood {
	case hung:
		<-r.Context().Done()
		return
	case silent:
		hangUp(w, "")
		return
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	json.NewEncoder(w).Encode(map[string]any{"FailedPutCount": failed, "RequestResponses": results})
}

func (m *moody) keepLocked(stream string, lines []byte) {
	if m.held[stream] == nil {
		m.held[stream] = make(map[int]bool)
	}
	numbersIn(lines, m.held[stream])
}

// numbersIn adds the numbers of the events in lines, which a kill may have cut, to those held.
func numbersIn(lines []byte, held map[int]bool) {
	for line := range bytes.Lines(lines) {
		var n int
		if _, err := fmt.Sscanf(string(line[:min(len(line), 30)]), `{"n":%d,`, &n); err == nil && line[len(line)-1] == '\n' {
			held[n] = true
		}
	}
}

// ledgerRun is an agent with failing destinations, and the test's record of its events.
type ledgerRun struct {
	*agent
	t     *testing.T
	rand  *rand.Rand
	fake  *moody
	files map[string]map[int]bool // the events in the finished files, by path

	mu      sync.Mutex
	next    map[string]int   // of the streams, the number of the next event
	acked   map[string][]int // the numbers of those that were acked
	slowest time.Duration    // append
}

var ledgerStreams = []string{"a", "b", "c"}

// The agent is killed STANDPIPE_E2E_LEDGER_ROUNDS times while producers fill a small log under drop_oldest. Meanwhile
// its destinations hang, limp and fail, and reloads change, remove and add them, or make a Firehose a file under the
// same name. After each kill every ledger adds up and counts no more than the destination holds. In the end every
// acked event is there or was dropped.
func TestLedger_KilledBesideReloadsDropsAndHangs(t *testing.T) {
	endToEnd(t)
	rounds := number(t, "STANDPIPE_E2E_LEDGER_ROUNDS", 10)
	seed := draw.Seed(t)
	t.Logf("%d rounds", rounds)
	run := &ledgerRun{t: t, rand: rand.New(rand.NewPCG(seed, 5)), fake: startMoody(t, seed), files: make(map[string]map[int]bool),
		next: make(map[string]int), acked: make(map[string][]int)}
	run.agent = newAgent(t, "wal {\n  max_size = \"2MiB\"\n  segment_size = \"512KiB\"\n  on_full = \"drop_oldest\"\n}\n", "")
	run.configure(run.draw(true))
	run.start()
	dropped := uint64(0)
	for round := range rounds {
		run.round()
		if code, out, errs := runProgram(t, "", "wal", "verify", run.path("data")); code != 0 {
			t.Fatalf("wal verify after a kill: got exit code %d: %s%s", code, out, errs)
		}
		run.start()
		dropped = run.check(round)
		if t.Failed() {
			t.Fatalf("in round %d", round)
		}
	}
	run.end()
	t.Logf("%d events dropped, slowest append %s", dropped, run.slowest)
}

// round lets producers append while destinations fare as they do, and kills the agent.
func (r *ledgerRun) round() {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	var all sync.WaitGroup
	client := r.dial()
	for _, stream := range ledgerStreams {
		all.Go(func() { r.produce(ctx, client, stream) })
	}
	for range 1 + r.rand.IntN(3) {
		if r.fake.turn(mood(r.rand.IntN(int(moods)))); r.rand.IntN(2) == 0 {
			r.configure(r.draw(false))
			r.signal(syscall.SIGHUP)
		}
		time.Sleep(time.Duration(r.rand.IntN(700)) * time.Millisecond)
	}
	r.kill()
	stop()
	all.Wait()
}

// produce appends until an append fails.
func (r *ledgerRun) produce(ctx context.Context, client standpipev1.IngestClient, stream string) {
	pad := strings.Repeat("x", 2000)
	for ctx.Err() == nil {
		r.mu.Lock()
		first := r.next[stream]
		r.next[stream] += 20
		r.mu.Unlock()
		var events []event
		for n := first; n < first+20; n++ {
			events = append(events, event{fmt.Sprint("k", n%7), fmt.Sprintf(`{"n":%d,"p":%q}`, n, pad)})
		}
		began := time.Now()
		_, err := client.Append(ctx, request(stream, events...))
		if err != nil {
			return
		}
		r.mu.Lock()
		r.slowest = max(r.slowest, time.Since(began))
		for n := first; n < first+20; n++ {
			r.acked[stream] = append(r.acked[stream], n)
		}
		r.mu.Unlock()
		time.Sleep(10 * time.Millisecond)
	}
}

// draw returns the streams with destinations that are drawn; all of them are there when all is set.
func (r *ledgerRun) draw(all bool) string {
	firehose := func(name, stream string) string {
		return fmt.Sprintf(`
  destination "firehose" %q {
    delivery_stream = "%s-%d"
    aws {
      region   = "eu-west-1"
      endpoint = %q
    }
    batch { max_delay = "50ms" }
    retry {
      max     = "500ms"
      timeout = %q
    }
  }`, name, stream, r.rand.IntN(3), r.fake.URL, []string{"2s", "10m"}[r.rand.IntN(2)])
	}
	file := func(name string) string {
		return fmt.Sprintf("\n  destination \"file\" %q {\n    path = \"${dir}/out/${stream}\"\n    batch { max_delay = \"50ms\" }\n    roll_interval = \"1s\"\n  }", name)
	}
	a := []string{[]string{"", "\n  max_age = \"1s\""}[r.rand.IntN(2)], firehose("d", "a")}
	b := []string{firehose("d", "b")}
	if r.rand.IntN(2) == 0 {
		b = []string{file("d")}
	}
	c := []string{"\n  max_size = \"1MiB\"\n  on_full = \"drop_oldest\""}
	if all || r.rand.IntN(3) > 0 {
		c = append(c, firehose("d", "c"))
	}
	if all || r.rand.IntN(3) > 0 || len(c) == 1 {
		c = append(c, file("e"))
	}
	return streamBlock("a", a...) + streamBlock("b", b...) + streamBlock("c", c...)
}

// check compares the ledgers with the held events, and returns the number of dropped events.
func (r *ledgerRun) check(round int) (dropped uint64) {
	r.t.Helper()
	for _, s := range r.status().Streams { // the status first: destinations only gain
		if acked := uint64(len(r.acked[s.Name])); s.Appended.Events < acked {
			r.t.Errorf("round %d, %s: %d events were acked, %d are appended", round, s.Name, acked, s.Appended.Events)
		}
		for _, d := range s.Destinations {
			most := max(d.Delivered.Events, d.Dead.Events, d.Dropped.Events, d.Pending.Events)
			held := r.held(s.Name, d.Name)
			if most > s.Appended.Events || d.Delivered.Events > uint64(len(held)) || d.Dead.Events > 0 {
				r.t.Errorf("round %d, %s/%s: appended %d, delivered %d of %d that are there, dead %d, dropped %d, pending %d", round, s.Name, d.Name,
					s.Appended.Events, d.Delivered.Events, len(held), d.Dead.Events, d.Dropped.Events, int64(d.Pending.Events))
			}
			dropped += d.Dropped.Events
		}
	}
	return dropped
}

// held returns the numbers of the events that a destination holds, in each shape that it had.
func (r *ledgerRun) held(stream, destination string) map[int]bool {
	held := make(map[int]bool)
	if destination == "d" {
		r.fake.mu.Lock()
		for n := range r.fake.held[stream] {
			held[n] = true
		}
		r.fake.mu.Unlock()
	}
	if stream+destination != "bd" && stream+destination != "ce" {
		return held
	}
	err := filepath.WalkDir(r.path("out/"+stream), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return nil // it may be renamed meanwhile, and is found then under its other name
		}
		numbers := r.files[path]
		if numbers == nil {
			text, err := os.ReadFile(path)
			if err != nil {
				text, _ = os.ReadFile(strings.TrimSuffix(path, ".tmp"))
			}
			numbers = make(map[int]bool)
			if numbersIn(text, numbers); !strings.HasSuffix(path, ".tmp") {
				r.files[path] = numbers
			}
		}
		for n := range numbers {
			held[n] = true
		}
		return nil
	})
	if err != nil {
		r.t.Error(err)
	}
	return held
}

// end lets everything arrive, and looks for each acked event.
func (r *ledgerRun) end() {
	r.t.Helper()
	r.fake.turn(well)
	r.configure(r.draw(true))
	r.signal(syscall.SIGHUP)
	for _, stream := range ledgerStreams {
		testkit.Eventually(r.t, time.Minute, r.settled(stream, r.stream(stream).Appended.Events))
	}
	r.check(-1)
	status := r.status()
	r.stop()
	for _, s := range status.Streams {
		for _, d := range s.Destinations {
			held, missing := r.held(s.Name, d.Name), uint64(0)
			for _, n := range r.acked[s.Name] {
				if !held[n] {
					missing++
				}
			}
			r.t.Logf("%s/%s: appended %d, delivered %d, dropped %d, held %d, missing %d", s.Name, d.Name, s.Appended.Events,
				d.Delivered.Events, d.Dropped.Events, len(held), missing)
			if missing > d.Dropped.Events {
				r.t.Errorf("%s/%s: %d acked events are missing, and %d were dropped", s.Name, d.Name, missing, d.Dropped.Events)
			}
		}
	}
}
