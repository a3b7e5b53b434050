package main

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/dustin/go-humanize"

	"github.com/standpipe/standpipe/agent/admin"
	"github.com/standpipe/standpipe/cmd/standpipe/internal/cli"
)

const nameWidth = 20 // of a destination; a longer name gets its own line

// statusTable formats a status.
type statusTable struct {
	cli.Table
	now time.Time
}

func writeStatus(out io.Writer, s admin.Status, now time.Time) error {
	t := &statusTable{now: now}
	t.agent(s.Agent)
	t.problems(s)
	t.wal(s.WAL)
	for _, stream := range s.Streams {
		t.stream(stream)
	}
	if len(s.Streams) == 0 {
		t.Line("no stream has had an event yet")
	}
	t.access(s.Access)
	_, err := io.WriteString(out, t.String())
	return err
}

// writeProblems writes the problems alone.
func writeProblems(out io.Writer, s admin.Status, now time.Time) error {
	t := &statusTable{now: now}
	t.problems(s)
	if t.Len() == 0 {
		t.Line("no problem")
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

// problems writes the problems, the worst first.
func (t *statusTable) problems(s admin.Status) {
	if a := s.Accepting; !a.OK && a.Reason != "" && a.Reason != "wal_full" && a.Reason != "disk_full" && a.Reason != "min_free" { // these are problems
		t.Note("       ", fmt.Sprintf("events are not accepted: %s for %s", a.Reason, admin.Age(t.now.Sub(a.Since.Time))))
	}
	for _, p := range s.Problems {
		subject := ""
		if p.Stream != "" {
			subject = p.Stream + " to " + p.Destination + ": "
		}
		t.Note(fmt.Sprintf("%-8s ", p.Severity), fmt.Sprintf("%s: %s%s, for %s", p.Kind, subject, p.Text, admin.Age(t.now.Sub(p.Since.Time))))
		t.Note("         ", "remedy: "+p.Remedy)
	}
}

func (t *statusTable) wal(w admin.WALStatus) {
	t.Line("wal    %s of %s in use (%d %%), %s", humanize.IBytes(uint64(max(w.Bytes, 0))),
		humanize.IBytes(uint64(max(w.MaxBytes, 0))), w.Percent(), cli.Number(w.Segments, "segment"))
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

func (t *statusTable) stream(s admin.StreamStatus) {
	t.Line("")
	t.Note("stream ", fmt.Sprintf("%s: %s appended (%s), %s refused%s", s.Name,
		humanize.Comma(int64(s.Appended.Events)), humanize.IBytes(s.Appended.Bytes), cli.Short(s.Refused.Events, 11), rate(s.AppendRate)))
	if len(s.Destinations) == 0 {
		t.Line("  no destination")
		return
	}
	t.Line("  %-*s %-8s %9s %8s %10s %8s %8s", nameWidth, "destination", "state",
		"pending", "oldest", "delivered", "dead", "dropped")
	for _, d := range s.Destinations {
		t.destination(d)
	}
}

func (t *statusTable) destination(d admin.DestinationStatus) {
	name := cli.Printable(d.Type + " " + d.Name)
	if utf8.RuneCountInString(name) > nameWidth {
		t.Note("  ", name)
		name = ""
	}
	oldest := "-"
	if d.Pending.Events > 0 {
		oldest = admin.Age(d.Pending.Oldest())
	}
	t.Line("  %-*s %-8s %9s %8s %10s %8s %8s", nameWidth, name, cli.Printable(string(d.State)), cli.Short(d.Pending.Events, 9),
		oldest, cli.Short(d.Delivered.Events, 10), cli.Short(d.Dead.Events, 8), cli.Short(d.Dropped.Events, 8))
	if why := t.why(d); why != "" {
		t.Note("    ", why)
	}
}

// why returns the reason of the wait, the last error and the time of the next try.
func (t *statusTable) why(d admin.DestinationStatus) string {
	var parts []string
	if d.WaitsFor != "" && d.Pending.Events > 0 {
		parts = append(parts, waits(d))
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
	return fmt.Sprintf(", %s events/s (%s/s)", humanize.CommafWithDigits(r.Events, 1), humanize.IBytes(uint64(r.Bytes)))
}

// waits returns the limit that a destination waits for.
func waits(d admin.DestinationStatus) string {
	text := d.WaitsFor
	if d.Shards > 0 {
		text += ", " + cli.Number(d.Shards, "shard")
	}
	if d.PaceBytes > 0 {
		text += ", pace " + humanize.Bytes(d.PaceBytes) + "/s"
	}
	return text
}
