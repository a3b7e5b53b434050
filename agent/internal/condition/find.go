package condition

import (
	"fmt"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/standpipe/standpipe/agent/admin"
	"github.com/standpipe/standpipe/wal"
)

// The bounds beyond which a condition is a problem.
const (
	behindAfter   = 5 * time.Minute     // age of the oldest pending event
	fullWithin    = time.Hour           // time until the WAL is full
	expiresWithin = 14 * 24 * time.Hour // time until a certificate expires
	droppingFor   = time.Minute         // time for which a dropped event counts
)

// Facts are a snapshot of an agent.
type Facts struct {
	Now    time.Time
	Status admin.Status

	DataDir      string
	Shortage     wal.Shortage
	Volume       wal.Volume    // of DataDir; zero: unknown
	LowSpace     bool          // appends are rejected because less than MinFree is free
	MinFree      int64         // bytes
	UntilFull    time.Duration // at the present growth; 0: the WAL does not grow
	DropsOldest  bool          // a full WAL drops events instead of rejecting
	Certificates []Certificate
	LinkDown     time.Time // when the link was set down; zero: it is up
	ClockUnset   string    // why the clock counts as not set; empty: it is set

	// Dropped returns the time of the last event that a policy dropped at a destination; zero: none since the start.
	Dropped func(stream, destination string) time.Time
}

// Certificate is a certificate of a listener.
type Certificate struct {
	File    string
	Expires time.Time
}

// kind is one kind of problem. Exactly one of the functions is set. Each returns the texts of the problems that the
// facts show, of an agent, a stream or a destination.
type kind struct {
	name     string
	severity admin.Severity
	remedy   string

	agent       func(f *Facts) []string
	destination func(f *Facts, stream *admin.StreamStatus, d *admin.DestinationStatus) (text string)

	// logged: another part of the agent writes the log lines of the kind, with more details.
	logged bool
}

// Kinds returns the names of all kinds, the worst first.
func Kinds() []string {
	names := make([]string, len(kinds))
	for i, k := range kinds {
		names[i] = k.name
	}
	return names
}

// Find returns the problems that the facts show, the worst first. Their Since is zero.
func Find(f *Facts) (problems []admin.Problem) {
	for _, k := range kinds {
		found := admin.Problem{Kind: k.name, Severity: k.severity, Remedy: k.remedy}
		if k.agent != nil {
			for _, found.Text = range k.agent(f) {
				problems = append(problems, found)
			}
			continue
		}
		for i := range f.Status.Streams {
			stream := &f.Status.Streams[i]
			for j := range stream.Destinations {
				d := &stream.Destinations[j]
				if found.Text = k.destination(f, stream, d); found.Text != "" {
					found.Stream, found.Destination = stream.Name, d.Name
					problems = append(problems, found)
				}
			}
		}
	}
	return problems
}

// Acceptance returns the problems that decide the fate of appends: of the kinds failed, wal_full, disk_full and min_free.
func Acceptance(f *Facts) (problems []admin.Problem) {
	for _, k := range kinds {
		if !decidesAcceptance(k.name) {
			continue
		}
		for _, text := range k.agent(f) {
			problems = append(problems, admin.Problem{Kind: k.name, Severity: k.severity, Remedy: k.remedy, Text: text})
		}
	}
	return problems
}

func decidesAcceptance(kind string) bool {
	return kind == "failed" || kind == "wal_full" || kind == "disk_full" || kind == "min_free"
}

// Agree returns problems, the result of an earlier Find, with the present Acceptance in place of the earlier one. It
// reports whether their kinds differ. A problem that earlier had no Since gets that of the status.
func Agree(problems []admin.Problem, f *Facts) (all []admin.Problem, differ bool) {
	before := make(map[string]admin.Time)
	for _, p := range problems {
		if decidesAcceptance(p.Kind) {
			before[p.Kind] = p.Since
		}
	}
	all = Acceptance(f)
	differ = len(all) != len(before)
	for i := range all {
		since, known := before[all[i].Kind]
		if !known {
			differ = true
			if since = f.Status.Accepting.Since; since.IsZero() {
				since = admin.Time{Time: f.Now}
			}
		}
		all[i].Since = since
	}
	for _, p := range problems {
		if !decidesAcceptance(p.Kind) {
			all = append(all, p)
		}
	}
	return all, differ
}

// when returns text if the condition holds.
func when(holds bool, text string, args ...any) []string {
	if !holds {
		return nil
	}
	return []string{fmt.Sprintf(text, args...)}
}

// perDestination is when for a destination.
func perDestination(holds bool, text string, args ...any) string {
	if !holds {
		return ""
	}
	return fmt.Sprintf(text, args...)
}

func size(n int64) string { return humanize.IBytes(uint64(max(n, 0))) }

func events(n uint64) string {
	if n == 1 {
		return "1 event"
	}
	return humanize.Comma(int64(n)) + " events"
}
