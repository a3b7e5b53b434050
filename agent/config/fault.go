package config

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/agext/levenshtein"
	"github.com/hashicorp/hcl/v2"
)

// Pos is a place in a configuration; the zero Pos is that of a default, which has no place.
type Pos struct {
	File         string
	Line, Column int // both count from 1
}

func (p Pos) String() string {
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}

func posOf(r hcl.Range) Pos {
	return Pos{File: r.Filename, Line: r.Start.Line, Column: r.Start.Column}
}

// Fault is one mistake in a configuration.
type Fault struct {
	Pos  Pos
	Text string // what is wrong, and what is allowed; one line
}

func (f Fault) String() string { return f.Pos.String() + ": " + f.Text }

// FaultsError is every mistake in a configuration, in the order of the file.
type FaultsError struct {
	Faults []Fault // at least one
}

// Error has a line for every fault.
func (e *FaultsError) Error() string {
	lines := make([]string, len(e.Faults))
	for i, f := range e.Faults {
		lines[i] = f.String()
	}
	return strings.Join(lines, "\n")
}

// faults gathers mistakes in the order in which they are found.
type faults []Fault

func (f *faults) add(p Pos, format string, args ...any) {
	*f = append(*f, Fault{Pos: p, Text: fmt.Sprintf(format, args...)})
}

// redefined is what HCL calls a setting that stands twice: the one mistake after which it reads
// on as if nothing had been.
const redefined = "Attribute redefined"

func (f *faults) addDiagnostics(diags hcl.Diagnostics, src []byte, file string) {
	for _, d := range diags {
		p, text := Pos{File: file, Line: 1, Column: 1}, oneLine(d.Summary+"; "+d.Detail)
		if d.Subject != nil {
			p = posOf(*d.Subject)
		}
		if d.Subject != nil && d.Summary == redefined {
			text = fmt.Sprintf("%s is given twice; a setting may stand once in its block", d.Subject.SliceBytes(src))
		}
		f.add(p, "%s", text)
	}
}

// err returns nil when there is no fault.
func (f faults) err() error {
	if len(f) == 0 {
		return nil
	}
	slices.SortStableFunc(f, func(a, b Fault) int {
		return cmp.Or(cmp.Compare(a.Pos.Line, b.Pos.Line), cmp.Compare(a.Pos.Column, b.Pos.Column))
	})
	return &FaultsError{Faults: f}
}

// oneLine makes HCL's sentences fit ours: one line, a small first letter, no full stop.
func oneLine(s string) string {
	s = strings.TrimSuffix(strings.Join(strings.Fields(s), " "), ".")
	return strings.ToLower(s[:1]) + s[1:]
}

// quote returns s in quotes, cut where it is too long to read in a message.
func quote(s string) string {
	const most = 60
	if runes := []rune(s); len(runes) > most {
		s = string(runes[:most]) + "..."
	}
	return strconv.Quote(s)
}

// either returns "a, b or c".
func either(words []string) string {
	last := len(words) - 1
	if last < 1 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

// instead returns the end of a fault text about an unknown name: the known name that was
// probably meant, or else all of them.
func instead(name string, known []string) string {
	if near, ok := nearest(name, known); ok {
		return fmt.Sprintf("did you mean %q?", near)
	}
	return "allowed is " + either(known)
}

// nearest returns the known name that is at most two edits, and less than half of itself, away.
func nearest(name string, known []string) (string, bool) {
	best, at := "", 3
	for _, k := range known {
		if d := levenshtein.Distance(name, k, nil); d < at && 2*d < len(k) {
			best, at = k, d
		}
	}
	return best, best != ""
}
