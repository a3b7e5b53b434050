package walcmd

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/dustin/go-humanize"

	"github.com/standpipe/standpipe/cmd/standpipe/internal/cli"
	"github.com/standpipe/standpipe/wal"
	"github.com/standpipe/standpipe/wal/inspect"
)

// streamsShown is the number of streams of a segment that the table lists.
const streamsShown = 16

// inspectionTable formats an inspection for a terminal of 80 columns.
type inspectionTable struct{ cli.Table }

func writeTable(out io.Writer, dir string, in *inspect.Inspection) error {
	t := &inspectionTable{}
	var disk int64
	for _, s := range in.Segments {
		disk += s.Disk
	}
	t.Note("log  ", fmt.Sprintf("%s in %s: %s, %s", in.ID, dir, cli.Number(len(in.Segments), "segment"), humanize.IBytes(uint64(disk))))
	t.Line("")
	t.Line("%-26s %-10s %10s %6s", "segment", "state", "disk", "live")
	for _, s := range in.Segments {
		t.segment(s)
	}
	t.files("set aside", in.SetAside)
	t.files("unfinished", in.Unfinished)
	t.missing(in.Missing)
	t.places(in)
	_, err := io.WriteString(out, t.String())
	return err
}

func (t *inspectionTable) segment(s inspect.SegmentInfo) {
	var held, live uint64
	for _, st := range s.Streams {
		held, live = held+st.Held.Events, live+st.Live
	}
	t.Line("%-26s %-10s %10s %6s", s.Name, s.State, humanize.IBytes(uint64(s.Disk)), share(live, held))
	if s.Fault != "" {
		t.Note("  ", s.Fault)
	}
	for i, st := range s.Streams {
		if i == streamsShown && len(s.Streams) > streamsShown+1 {
			t.Line("  and %d more streams; --json lists them all", len(s.Streams)-streamsShown)
			break
		}
		t.Note("  ", fmt.Sprintf("%s %d-%d (%s, %s, %s live)", st.Stream, st.First, st.Next-1,
			events(st.Held.Events), humanize.IBytes(st.Held.Bytes), share(st.Live, st.Held.Events)))
	}
}

func events(n uint64) string {
	if n == 1 {
		return "1 event"
	}
	return humanize.Comma(int64(n)) + " events"
}

// share returns a of b in percent. It rounds neither to 0 nor to 100.
func share(a, b uint64) string {
	switch {
	case b == 0:
		return "-"
	case a == 0 || a == b:
		return fmt.Sprintf("%d%%", 100*a/b)
	}
	return fmt.Sprintf("%d%%", min(max(uint64(100*float64(a)/float64(b)), 1), 99))
}

func (t *inspectionTable) files(title string, files []inspect.FileInfo) {
	if len(files) == 0 {
		return
	}
	t.Line("")
	t.Line("%s", title)
	for _, f := range files {
		t.Line("  %-50s %10s", f.Name, humanize.IBytes(uint64(f.Disk)))
	}
}

func (t *inspectionTable) missing(runs []inspect.MissingRun) {
	if len(runs) == 0 {
		return
	}
	t.Line("")
	t.Line("missing offsets")
	for _, m := range runs {
		why := "no segment holds them"
		if len(m.Why) > 0 {
			why = "they were in " + strings.Join(m.Why, ", ")
		}
		which := fmt.Sprintf("%s (%s)", m.Run, humanize.Comma(int64(m.Next-m.First)))
		if m.First == 0 {
			which, why = fmt.Sprintf("up to %d", m.Next-1), why+", or truncated before"
		}
		t.Note("  ", fmt.Sprintf("%s %s: %s", m.Stream, which, why))
	}
}

func (t *inspectionTable) places(in *inspect.Inspection) {
	if len(in.Cursors) == 0 {
		t.Line("")
		t.Line("no destination has a place in the log")
		return
	}
	t.Line("")
	t.Line("%-32s %12s %11s %10s %9s", "stream and destination", "checkpoint", "pending", "bytes", "dropped")
	for _, p := range in.Cursors {
		name := cli.Printable(p.Stream + " " + p.Destination)
		if utf8.RuneCountInString(name) > 32 {
			t.Note("", name)
			name = ""
		}
		var dropped wal.Count
		for _, c := range p.Dropped {
			dropped.Add(c)
		}
		t.Line("%-32s %12d %11s %10s %9s", name, p.Checkpoint, cli.Short(p.Pending.Events, 11),
			humanize.IBytes(p.Pending.Bytes), cli.Short(dropped.Events, 9))
		if p.Parking.Next > 0 {
			state := "parked"
			if p.Parking.Forgotten {
				state = "parked and forgotten"
			}
			t.Line("  %s since %s", state, clock(p.Parking.At))
		}
		if !p.Paused.IsZero() {
			t.Line("  paused since %s", clock(p.Paused))
		}
	}
}

func clock(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }
