//go:build unix

package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/standpipe/standpipe/test/draw"
	"github.com/standpipe/standpipe/test/fakeaws"
	"github.com/standpipe/standpipe/test/testkit"
)

// A schedule draws the actions of an operator and of the environment on the three destinations of stream s.
type schedule struct {
	*rand.Rand
	t    *testing.T
	a    *agent
	fake *fakeaws.Server
	file string // the streams of the configuration that is in force
}

// destination draws destination d: its type, target and settings; whole: it exists and can be built.
func (s *schedule) destination(d int, whole bool) string {
	settings := fmt.Sprintf("batch { max_delay = \"%dms\" }", 10+s.IntN(40))
	aws := fmt.Sprintf("region = \"us-east-1\"\n endpoint = %q\n retry {\n max = \"100ms\"\n timeout = \"2s\"\n }\n %s\n }", s.fake.URL(), settings)
	kinds := 5
	if whole {
		kinds = 3
	}
	switch s.IntN(kinds) {
	case 0:
		return fmt.Sprintf("\n destination \"file\" \"d%d\" {\n path = \"${dir}/out/d%d/p%d\"\n roll_interval = \"%ds\"\n %s\n }",
			d, d, s.IntN(2), 1+s.IntN(9), settings)
	case 1:
		return fmt.Sprintf("\n destination \"firehose\" \"d%d\" {\n delivery_stream = \"d%d-f%d\"\n %s", d, d, s.IntN(2), aws)
	case 2:
		return fmt.Sprintf("\n destination \"kinesis\" \"d%d\" {\n stream = \"d%d-k%d\"\n aggregate = \"none\"\n %s", d, d, s.IntN(2), aws)
	case 3:
		return fmt.Sprintf("\n destination \"firehose\" \"d%d\" {\n delivery_stream = \"d%d-f0\"\n profile = \"nosuch\"\n %s", d, d, aws)
	}
	return "" // it has left the file
}

func (s *schedule) streams(whole bool) string {
	var all []string
	for d := range 3 {
		all = append(all, s.destination(d, whole))
	}
	s.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	if strings.Join(all, "") == "" {
		all[0] = s.destination(0, true)
	}
	return streamBlock("s", all...)
}

// reload lets the agent read a file anew and waits for its log line about the reload.
func (s *schedule) reload(file string, refused bool) {
	said := func() int {
		return strings.Count(s.a.out.String(), "configuration reloaded") + strings.Count(s.a.out.String(), "was not reloaded")
	}
	before := said()
	s.a.configure(file)
	s.a.signal(syscall.SIGHUP)
	testkit.Eventually(s.t, 30*time.Second, func() error {
		if said() == before {
			return fmt.Errorf("it says nothing of the reload")
		}
		return nil
	})
	if refused {
		s.a.configure(s.file)
		return
	}
	s.file = file
}

// trouble lets the next requests meet a few faults.
func (s *schedule) trouble() {
	faults := []fakeaws.Fault{
		fakeaws.CutBefore(), fakeaws.CutWithin(), fakeaws.Throttle(), fakeaws.Refuse(503, "ServiceUnavailable", "later"),
		fakeaws.Garbage(), fakeaws.Blank(), fakeaws.Silent(),
	}
	for range s.IntN(4) {
		s.fake.FailNext(faults[s.IntN(len(faults))])
	}
}

// produce appends events {"n":1}, {"n":2} … until ctx ends, each once, and returns how many.
func (s *schedule) produce(ctx context.Context) (n int) {
	client := s.a.dial()
	for ctx.Err() == nil {
		var batch []event
		for i := range 5 {
			batch = append(batch, event{fmt.Sprint("k", (n+i)%16), fmt.Sprintf(`{"n":%d}`, n+i+1)})
		}
		r := request("s", batch...)
		r.ProducerId, r.ProducerSequence = "schedule", uint64(n+1)
		for { // until it is stored: the agent may be away
			try, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			_, err := client.Append(try, r)
			cancel()
			if err == nil {
				break
			}
			time.Sleep(20 * time.Millisecond)
		}
		n += len(batch)
		time.Sleep(10 * time.Millisecond)
	}
	return n
}

// check holds every ledger: nothing is less than nothing, and no event is dropped but for a park.
func (s *schedule) check() {
	s.t.Helper()
	st := s.a.stream("s")
	for _, d := range st.Destinations {
		dropped := d.Dropped.Reasons["parked"] // events of the time when the destination was out of the file
		if d.Pending.Events > st.Appended.Events || d.Dead.Events > 0 || d.Dropped.Events != dropped {
			s.t.Fatalf("%s: %d delivered and %d pending of %d, %d dead, %d dropped: %v", d.Name, d.Delivered.Events, d.Pending.Events,
				st.Appended.Events, d.Dead.Events, d.Dropped.Events, d.Dropped.Reasons)
		}
	}
}

// arrived returns the numbers of the events that consumers of destination d find, wherever it went. The test fails if
// those of a key came first to one target in another order than they were sent in, or twice into files.
func (s *schedule) arrived(d int) map[int]bool {
	all := make(map[int]bool)
	type lane struct {
		target string
		key    int
	}
	last, seen := make(map[lane]int), make(map[string]bool)
	note := func(target string, line []byte) {
		var e struct{ N int }
		if err := json.Unmarshal(line, &e); err != nil || e.N == 0 {
			s.t.Fatalf("%s has %q: %v", target, line, err)
		}
		all[e.N] = true
		if id := fmt.Sprint(target, e.N); !seen[id] {
			seen[id] = true
			l := lane{target, e.N % 16}
			if last[l] > e.N {
				s.t.Errorf("%s: event %d came first after event %d of its key", target, e.N, last[l])
			}
			last[l] = e.N
		}
	}
	for _, r := range s.fake.Records() {
		if strings.HasPrefix(r.Stream, fmt.Sprintf("d%d-", d)) {
			for line := range bytes.Lines(r.Data) {
				note(r.Stream, line)
			}
		}
	}
	filed := make(map[string]string)
	for _, path := range []string{"p0", "p1"} {
		folder := s.a.path(fmt.Sprintf("out/d%d/%s", d, path))
		if _, err := os.Stat(folder); err != nil {
			continue
		}
		for _, file := range deliveredFiles(s.t, folder) {
			text, err := os.ReadFile(file)
			if err != nil {
				s.t.Fatal(err)
			}
			for line := range bytes.Lines(text) {
				if !strings.HasSuffix(file, ".jsonl") {
					continue
				}
				note(folder, line)
				if other := filed[string(line)]; other != "" {
					s.t.Errorf("%s has %s, which is in %s", file, bytes.TrimSpace(line), other)
				}
				filed[string(line)] = file
			}
		}
	}
	return all
}

// Drawn reloads (other settings, type, target; removed, added back, not to be built; rejected) under load, with
// faults of the services and kill -9 between. The ledgers add up after each. In the end every destination has every
// event but those that came while it was out of the file, where its consumers look, in order of its key, and in files once.
func TestSchedule_Reloads(t *testing.T) {
	endToEnd(t)
	t.Parallel()
	seed := draw.Seed(t)
	s := &schedule{Rand: rand.New(rand.NewPCG(seed, 1)), t: t, fake: fakeaws.Start(t)}
	s.a = newAgent(t, "shutdown_timeout = \"10s\"\n", "")
	s.file = s.streams(true) // all three are there when the first event is
	s.a.configure(s.file)
	s.a.start()
	ctx, stop := context.WithCancel(t.Context())
	produced := make(chan int, 1)
	go func() { produced <- s.produce(ctx) }()
	for range number(t, "STANDPIPE_E2E_RELOADS", 40) {
		s.trouble()
		switch s.IntN(6) {
		case 0:
			s.reload(s.streams(false)+"\nidentity \"i\" { token_file = \"/nosuch\" }\n", true)
		case 1:
			s.a.kill()
			s.a.start()
		default:
			s.reload(s.streams(false), false)
		}
		s.check()
		time.Sleep(time.Duration(s.IntN(150)) * time.Millisecond)
	}
	stop()
	n := <-produced
	s.reload(s.streams(true), false)
	want := make(map[string]int)
	testkit.Eventually(t, time.Minute, func() error {
		s.check()
		st := s.a.stream("s")
		for _, d := range st.Destinations {
			if st.Appended.Events != uint64(n) || d.Delivered.Events+d.Dropped.Events != uint64(n) {
				return fmt.Errorf("%d of %d events appended, %d delivered and %d dropped at %s", st.Appended.Events, n, d.Delivered.Events, d.Dropped.Events, d.Name)
			}
			want[d.Name] = int(d.Delivered.Events)
		}
		return nil
	})
	s.a.stop()
	for d := range 3 {
		if got := len(s.arrived(d)); got != want[fmt.Sprint("d", d)] {
			t.Errorf("d%d: %d of %d events arrived, and %d were delivered", d, got, n, want[fmt.Sprint("d", d)])
		}
	}
}
