package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/dustin/go-humanize"

	"github.com/standpipe/standpipe/agent/admin"
	"github.com/standpipe/standpipe/cmd/standpipe/internal/cli"
)

const (
	nameWidth    = 18 // of a destination; a longer name gets its own line
	maxNameWidth = 48 // on a wide terminal
	// With more than manyStreams streams the healthy ones are one line.
	manyStreams = 10
	// namedMembers destinations of a group of problems are named.
	namedMembers = 3
)

// statusTable formats a status.
type statusTable struct {
	cli.Table
	now  time.Time
	name int // columns of a destination's name
}

func newStatusTable(now time.Time, screen cli.Screen) *statusTable {
	t := &statusTable{now: now, Table: cli.Table{Columns: screen.Columns, Color: screen.Color}}
	fixed := 2
	for _, c := range t.columns() {
		fixed += c.room()
	}
	t.name = min(max(t.Width()-fixed, nameWidth), maxNameWidth)
	return t
}

// writeStatus writes a status: the problems first, then the figures. Healthy streams are one line if there are many, unless
// all is set.
func writeStatus(out io.Writer, s admin.Status, now time.Time, screen cli.Screen, all bool) error {
	t := newStatusTable(now, screen)
	t.agent(s.Agent)
	t.problems(&s)
	t.wal(s.WAL)
	t.written(&s)
	t.flow(s.Streams)
	t.streams(&s, all)
	t.access(s.Access)
	_, err := io.WriteString(out, t.String())
	return err
}

// writeProblems writes the problems alone.
func writeProblems(out io.Writer, s admin.Status, now time.Time, screen cli.Screen) error {
	t := newStatusTable(now, screen)
	t.problems(&s)
	if t.Len() == 0 {
		t.Line("%s", t.Paint(cli.Good, "no problem"))
	}
	_, err := io.WriteString(out, t.String())
	return err
}

func (t *statusTable) agent(a admin.AgentStatus) {
	up := ""
	if !a.StartedAt.IsZero() {
		up = " for " + admin.Age(t.now.Sub(a.StartedAt.Time))
	}
	t.Note("agent  ", fmt.Sprintf("%s, %s%s, standpipe %s, log %s", a.NodeName, a.State, up, a.Version, a.ID))
}

// problems writes the problems, the worst first. Those of one cause are one.
func (t *statusTable) problems(s *admin.Status) {
	if a := s.Accepting; !a.OK && a.Reason != "" && a.Reason != "wal_full" && a.Reason != "disk_full" && a.Reason != "min_free" { // these are problems
		t.Note("       ", fmt.Sprintf("events are not accepted: %s for %s", a.Reason, admin.Age(t.now.Sub(a.Since.Time))))
	}
	for _, g := range s.ProblemGroups() {
		style := cli.Warn
		if g.Severity == admin.Critical {
			style = cli.Bad
		}
		lasted := ", for " + admin.Age(t.now.Sub(g.Since.Time))
		first := fmt.Sprintf("%-8s ", g.Severity)
		t.Mark(style, first, g.Summary()+lasted)
		if len(g.Members) > 1 {
			t.Note("         ", members(g.Members))
		}
		t.Note("         ", "remedy: "+g.Remedy)
	}
}

func members(places []admin.Place) string {
	var names []string
	for _, p := range places[:min(len(places), namedMembers)] {
		names = append(names, p.Stream+" to "+p.Destination)
	}
	text := strings.Join(names, ", ")
	if more := len(places) - namedMembers; more > 0 {
		text += fmt.Sprintf(", and %d more", more)
	}
	return text
}

func (t *statusTable) wal(w admin.WALStatus) {
	full := ""
	if w.UntilFullSeconds > 0 {
		full = ", full in about " + admin.Age(time.Duration(w.UntilFullSeconds*float64(time.Second)))
	}
	t.Note("wal    ", fmt.Sprintf("%s of %s in use (%d %%), %s%s", humanize.IBytes(uint64(max(w.Bytes, 0))),
		humanize.IBytes(uint64(max(w.MaxBytes, 0))), w.Percent(), cli.Number(w.Segments, "segment"), full))
	if w.RetainedBytes > 0 {
		t.Note("       ", fmt.Sprintf("%s in %s retained for replay", humanize.IBytes(uint64(w.RetainedBytes)), cli.Number(w.RetainedSegments, "segment")))
	}
	if w.Failed != "" {
		t.Note("       ", "failed: "+w.Failed)
	}
	if len(w.SetAside) > 0 {
		t.Note("       ", fmt.Sprintf("%s set aside after damage: %s", cli.Number(len(w.SetAside), "file"), strings.Join(w.SetAside, ", ")))
	}
	if w.DeadBytes > 0 {
		t.Note("       ", fmt.Sprintf("dead letters take %s of %s", humanize.IBytes(uint64(w.DeadBytes)), humanize.IBytes(uint64(max(w.MaxDeadBytes, 0)))))
	}
	if w.StateFull {
		t.Note("       ", fmt.Sprintf("new streams and producers are rejected: the state takes %s of %s; raise max_size",
			humanize.IBytes(uint64(w.StateBytes)), humanize.IBytes(uint64(w.MaxStateBytes))))
	}
}

// written writes the bytes that are written to the disk and exchanged on the link in a day.
func (t *statusTable) written(s *admin.Status) {
	if s.WAL.WrittenPerDay > 0 {
		text := "the log writes " + gigabytes(s.WAL.WrittenPerDay)
		if device := s.WAL.DeviceWrittenPerDay; device > 0 {
			text += ", all programs and the file system " + gigabytes(device)
		}
		t.Note("disk   ", text)
	}
	if s.Link.PerDay > 0 {
		t.Note("link   ", megabytes(s.Link.PerDay)+" to and from destinations")
	}
}

// writtenPerDay returns the bytes that are written to the device in a day or, where they are unknown, those of the log.
func writtenPerDay(w *admin.WALStatus) float64 {
	if w.DeviceWrittenPerDay > 0 {
		return w.DeviceWrittenPerDay
	}
	return w.WrittenPerDay
}

// flow writes the traffic of some streams together.
func (t *statusTable) flow(streams []admin.StreamStatus) {
	if len(streams) > 0 {
		t.Note("flow   ", admin.Sum(streams).String())
	}
}

// streams writes each stream, and the healthy ones as one line if there are many.
func (t *statusTable) streams(s *admin.Status, all bool) {
	shown := s.Streams
	if !all && len(shown) > manyStreams {
		shown = slices.DeleteFunc(slices.Clone(shown), func(stream admin.StreamStatus) bool { return s.Healthy(&stream) })
	}
	for _, stream := range shown {
		t.stream(stream)
	}
	switch folded := len(s.Streams) - len(shown); {
	case len(s.Streams) == 0:
		t.Line("no stream has had an event yet")
	case folded > 0:
		t.Line("")
		t.Note("", fmt.Sprintf("%s healthy; --all or --stream shows them", cli.Number(folded, "stream")))
	}
}

func (t *statusTable) stream(s admin.StreamStatus) {
	t.Line("")
	t.Mark(cli.Bold, "stream ", fmt.Sprintf("%s: %s appended (%s), %s refused%s", s.Name,
		humanize.Comma(int64(s.Appended.Events)), humanize.IBytes(s.Appended.Bytes), cli.Short(s.Refused.Events, 11), rate(s.AppendRate)))
	listed := s.Listed()
	if len(listed) == 0 {
		t.Line("  no destination")
		return
	}
	header := fmt.Sprintf("  %-*s", t.name, "destination")
	for _, c := range t.columns() {
		header += " " + c.pad(c.title)
	}
	t.Line("%s", t.Paint(cli.Dim, header))
	for i := range listed {
		t.destination(&listed[i])
	}
}

// column is a figure of each destination.
type column struct {
	title string
	width int // negative: aligned to the left
	value func(d *admin.DestinationStatus) string
}

func (c *column) pad(text string) string { return fmt.Sprintf("%*s", c.width, text) }

// room returns the width with the blank between columns.
func (c *column) room() int { return max(c.width, -c.width) + 1 }

var columns = []column{
	{"state", -8, func(d *admin.DestinationStatus) string { return cli.Printable(string(d.State)) }},
	{"pending", 8, func(d *admin.DestinationStatus) string { return cli.Short(d.Pending.Events, 8) }},
	{"oldest", 7, oldest},
	{"out/s", 7, func(d *admin.DestinationStatus) string { return cli.PerSecond(d.Rate.Events) }},
	{"delivered", 10, func(d *admin.DestinationStatus) string { return cli.Short(d.Delivered.Events, 10) }},
	{"dead", 6, func(d *admin.DestinationStatus) string { return cli.Short(d.Dead.Events, 6) }},
	{"dropped", 7, func(d *admin.DestinationStatus) string { return cli.Short(d.Dropped.Events, 7) }},
}

// columns returns the columns that fit. On a narrow terminal the counts since the start are missing.
func (t *statusTable) columns() []column {
	all := slices.Clone(columns)
	for total := 2 + nameWidth; ; all = all[:len(all)-1] {
		sum := total
		for _, c := range all {
			sum += c.room()
		}
		if sum <= t.Width() || len(all) == 4 {
			return all
		}
	}
}

func oldest(d *admin.DestinationStatus) string {
	if d.Pending.Events == 0 {
		return "-"
	}
	return admin.Age(d.Pending.Oldest())
}

func (t *statusTable) destination(d *admin.DestinationStatus) {
	name := cli.Printable(d.Type + " " + d.Name)
	if utf8.RuneCountInString(name) > t.name {
		t.Note("  ", name)
		name = ""
	}
	line := fmt.Sprintf("  %-*s", t.name, name)
	for i, c := range t.columns() {
		value := c.pad(c.value(d))
		if i == 0 {
			value = t.Paint(cli.StateStyle(d.State), value)
		}
		line += " " + value
	}
	t.Line("%s", line)
	if why := t.why(d); why != "" {
		t.Note("    ", why)
	}
}

// why returns the reason of the wait, the last error and the time of the next try.
func (t *statusTable) why(d *admin.DestinationStatus) string {
	var parts []string
	if d.WaitsFor != "" && d.Pending.Events > 0 {
		parts = append(parts, waits(d))
	}
	if !d.CatchingUpSince.IsZero() && d.Pending.Events > 0 {
		parts = append(parts, fmt.Sprintf("catching up since %s: %s behind, the newest delivered is %s old",
			d.CatchingUpSince.UTC().Format("15:04:05 UTC"), cli.Number(d.Pending.Events, "event"), admin.Age(d.NewestDelivered())))
	}
	if !d.FailingSince.IsZero() {
		parts = append(parts, "failing since "+d.FailingSince.UTC().Format("2006-01-02 15:04:05 UTC"))
	}
	if d.LastError != "" {
		parts = append(parts, "last error: "+d.LastError)
	}
	if !d.RetryAt.IsZero() {
		text := "retry at " + d.RetryAt.UTC().Format("2006-01-02 15:04:05 UTC")
		if ahead := d.RetryAt.Sub(t.now); ahead > 0 {
			text += " (in " + admin.Age(ahead) + ")"
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, "; ")
}

// rate returns the traffic of the last seconds, or nothing if there was none.
func rate(r admin.Rate) string {
	if r.Events <= 0 {
		return ""
	}
	return ", in " + r.String()
}

// waits returns the limit that a destination waits for.
func waits(d *admin.DestinationStatus) string {
	text := d.WaitsFor
	if d.Shards > 0 {
		text += ", " + cli.Number(d.Shards, "shard")
	}
	if d.PaceBytes > 0 {
		text += ", pace " + humanize.Bytes(d.PaceBytes) + "/s"
	}
	return text
}
