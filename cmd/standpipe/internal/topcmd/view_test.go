package topcmd

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/gdamore/tcell/v2"
	"github.com/rivo/tview"

	"github.com/standpipe/standpipe/agent/admin"
	"github.com/standpipe/standpipe/test/draw"
)

var now = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// drawn makes a status of that many streams with two destinations each.
func drawn(r *rand.Rand, streams int) admin.Status {
	s := admin.Status{
		Agent:     admin.AgentStatus{NodeName: "gateway-17", State: "running", StartedAt: admin.Time{Time: now.Add(-time.Hour)}},
		WAL:       admin.WALStatus{Bytes: 6 << 30, MaxBytes: 8 << 30},
		Accepting: admin.Accepting{OK: true},
	}
	for i := range streams {
		stream := admin.StreamStatus{Name: fmt.Sprintf("meter-%04d", i), AppendRate: admin.Rate{Events: float64(r.IntN(1000)), Bytes: float64(r.IntN(1 << 20))}}
		for j, name := range []string{"archive", "live"} {
			d := admin.DestinationStatus{Type: "firehose", Name: name, State: admin.Running, Rate: admin.Rate{Events: float64(r.IntN(1000)), Bytes: float64(r.IntN(1 << 20))}}
			if r.IntN(4) == 0 {
				d.Pending = admin.Pending{Events: 1 + r.Uint64N(1<<40), OldestSeconds: float64(r.IntN(1 << 20))}
				d.UntilFullSeconds = float64(r.IntN(3) * r.IntN(1<<20))
			}
			if j == 0 && r.IntN(10) == 0 {
				d.State, d.LastError = admin.Blocked, "access denied [red]"
				s.Problems = append(s.Problems, admin.Problem{Kind: "blocked", Severity: admin.Critical, Stream: stream.Name, Destination: name, Text: "blocked", Remedy: "allow it"})
			}
			stream.Destinations = append(stream.Destinations, d)
		}
		stream.Destinations = append(stream.Destinations, admin.DestinationStatus{Type: "file", Name: "ended", State: admin.Forgotten}) // is not shown
		s.Streams = append(s.Streams, stream)
	}
	return s
}

// screen is a terminal of a size, on which a view is drawn.
type screen struct {
	*testing.T
	view *view
	sim  tcell.SimulationScreen
}

func open(t *testing.T, columns, rows int) *screen {
	t.Helper()
	sim := tcell.NewSimulationScreen("UTF-8")
	if err := sim.Init(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sim.Fini)
	sim.SetSize(columns, rows)
	return &screen{t, newView(), sim}
}

// press presses keys: those of special, and runes for all else.
func (s *screen) press(keys ...any) {
	for _, key := range keys {
		var events []*tcell.EventKey
		switch key := key.(type) {
		case tcell.Key:
			events = append(events, tcell.NewEventKey(key, 0, tcell.ModNone))
		case string:
			for _, r := range key {
				events = append(events, tcell.NewEventKey(tcell.KeyRune, r, tcell.ModNone))
			}
		}
		for _, event := range events {
			if event = s.view.key(event); event != nil {
				s.view.table.InputHandler()(event, func(tview.Primitive) {})
			}
		}
	}
}

// lines draws the view and returns the text of the screen.
func (s *screen) lines() []string {
	s.sim.Clear()
	columns, rows := s.sim.Size()
	s.view.root.SetRect(0, 0, columns, rows)
	s.view.root.Draw(s.sim)
	s.sim.Show()
	cells, _, _ := s.sim.GetContents()
	lines := make([]string, rows)
	for i := range lines {
		var b strings.Builder
		for _, cell := range cells[i*columns : (i+1)*columns] {
			b.WriteString(string(cell.Runes))
		}
		lines[i] = strings.TrimRight(b.String(), " \x00")
	}
	return lines
}

func (s *screen) want(wants ...string) {
	s.Helper()
	text := strings.Join(s.lines(), "\n")
	for _, want := range wants {
		if !strings.Contains(text, want) {
			s.Errorf("got no %q in\n%s", want, text)
		}
	}
}

func TestTop_On80x24(t *testing.T) {
	s := open(t, 80, 24)
	s.want("waiting for the agent")
	status := admin.Status{
		Agent: admin.AgentStatus{NodeName: "gateway-17", State: "running", StartedAt: admin.Time{Time: now.Add(-time.Hour)}},
		WAL:   admin.WALStatus{Bytes: 6 << 30, MaxBytes: 8 << 30, UntilFullSeconds: 5400}, Accepting: admin.Accepting{Reason: "wal_full", Since: admin.Time{Time: now.Add(-time.Minute)}},
		Problems: []admin.Problem{
			{Kind: "blocked", Severity: admin.Critical, Stream: "clicks", Destination: "archive", Text: "blocked with 7 events pending: denied"},
			{Kind: "full_soon", Text: "the WAL is full in about 1h"}, {Kind: "damaged", Text: "files"},
		},
		Streams: []admin.StreamStatus{
			{Name: "a-stream-with-a-name-that-has-no-end-at-all", AppendRate: admin.Rate{Events: 12345.6, Bytes: 2e6}, Destinations: []admin.DestinationStatus{
				{Type: "kinesis", Name: "live", State: admin.Running, Rate: admin.Rate{Events: 0.5}, Pending: admin.Pending{Events: 1234567890, OldestSeconds: 7500}, UntilFullSeconds: 700},
			}},
			{Name: "clicks", AppendRate: admin.Rate{Events: 8}, Destinations: []admin.DestinationStatus{
				{Type: "firehose", Name: "archive", State: admin.Blocked, LastError: "denied [red]", RetryAt: admin.Time{Time: now.Add(12 * time.Second)}, Pending: admin.Pending{Events: 7, OldestSeconds: 3}},
			}},
		},
	}
	s.view.update(status, nil, now)
	want := `gateway-17 running for 1h 0m, events are not accepted: wal_full, for 1m 0s
in 12,354 events/s (1.9 MiB/s), out 0.5 events/s (0 B/s), wal 6.0 GiB of 8.0 GiB
1,234,567,897 events pending (0 B) at 2 destinations, the oldest for 2h 5m
blocked: clicks to archive: blocked with 7 events pending: denied
full_soon: the WAL is full in about 1h
and 1 other problem
stream            destination    state▼    in/s   out/s pending  oldest full in
clicks            archive       blocked     8.0       -       7    3.0s       -
a-stream-with-a-… live          running  12,346     0.5    1.2G   2h 5m 11m 40s
`
	got := strings.Join(s.lines(), "\n")
	if !strings.HasPrefix(got, want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	s.want("clicks to firehose archive: denied [red]; retry in 12s", "s t i o p a f sort  x problems  Tab streams  ↑↓ PgDn scroll  q quit  / filter")
	s.view.update(admin.Status{}, errors.New("no response from the agent"), now.Add(3*time.Second))
	s.want("no response from the agent", "The figures are 3.0s old.", "clicks")
}

// Each key sorts by its column, and by the other direction when it is pressed again.
func TestTop_Sorts(t *testing.T) {
	r := rand.New(rand.NewPCG(draw.Seed(t), 1))
	for range 5 {
		s := open(t, 80+r.IntN(100), 24+r.IntN(40))
		s.view.update(drawn(r, 1+r.IntN(60)), nil, now)
		for _, o := range orders {
			s.press(string(o.key))
			for _, direction := range []int{1, -1} {
				for i := 1; i < len(s.view.rows); i++ {
					if direction*o.compare(&s.view.rows[i-1], &s.view.rows[i]) > 0 {
						t.Errorf("key %c, direction %d: row %d stands before row %d: %+v, %+v", o.key, direction, i-1, i, s.view.rows[i-1], s.view.rows[i])
					}
				}
				s.want(o.title + map[int]string{1: "▼", -1: "▲"}[direction])
				s.press(string(o.key))
			}
		}
	}
}

func TestTop_Filters(t *testing.T) {
	status := drawn(rand.New(rand.NewPCG(draw.Seed(t), 2)), 1000)
	bad := 0
	for i := range status.Streams {
		if !status.Healthy(&status.Streams[i]) {
			bad++
		}
	}
	s := open(t, 100, 30)
	s.view.update(status, nil, now)
	for _, step := range []struct {
		name string
		keys []any
		rows int
	}{
		{"all", nil, 2000},
		{"streams", []any{tcell.KeyTab}, 1000},
		{"streams with problems", []any{"x"}, bad},
		{"all again", []any{"x", tcell.KeyTab}, 2000},
		{"a part of a name", []any{"/METER-00s", tcell.KeyBackspace2, "1"}, 20},
		{"q and x are part of the filter", []any{"qx"}, 0},
		{"cleared", []any{tcell.KeyEsc}, 2000},
		{"a pattern", []any{"/*-0*7", tcell.KeyEnter}, 200},
		{"of one destination", []any{tcell.KeyEsc, "/live", tcell.KeyEnter}, 1000},
		{"cleared with Esc outside", []any{tcell.KeyEsc}, 2000},
	} {
		s.press(step.keys...)
		if got := len(s.view.rows); got != step.rows {
			t.Errorf("%s: got %d rows, want %d", step.name, got, step.rows)
		}
		s.lines()
	}
	s.press("/live")
	s.want("filter: live_  Enter keeps it, Esc clears it")
}

// The selected row stays selected when it moves, and its details are shown.
func TestTop_KeepsTheSelection(t *testing.T) {
	s := open(t, 80, 24)
	status := drawn(rand.New(rand.NewPCG(1, 1)), 50)
	s.view.update(status, nil, now)
	s.press("s", tcell.KeyDown, tcell.KeyDown)
	s.want("meter-0001 to firehose archive")
	s.press("s")
	s.want("meter-0001 to firehose archive")
	status.Streams = status.Streams[:1]
	s.view.update(status, nil, now)
	s.want("meter-0000 to firehose")
}

// BenchmarkTop_Update measures an update of a screen of 50 lines: sort, head, and cells.
func BenchmarkTop_Update(b *testing.B) {
	for _, streams := range []int{10, 1000} {
		b.Run(fmt.Sprintf("streams=%d", streams), func(b *testing.B) {
			b.ReportAllocs()
			sim := tcell.NewSimulationScreen("UTF-8")
			if err := sim.Init(); err != nil {
				b.Fatal(err)
			}
			defer sim.Fini()
			sim.SetSize(160, 50)
			v, status := newView(), drawn(rand.New(rand.NewPCG(1, 1)), streams)
			for b.Loop() {
				v.update(status, nil, now)
				v.root.SetRect(0, 0, 160, 50)
				v.root.Draw(sim)
			}
		})
	}
}
