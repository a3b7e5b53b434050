package schema

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/agext/levenshtein"
	"github.com/hashicorp/hcl/v2"
)

// Pos is a position in a configuration file. Defaults have the zero Pos.
type Pos struct {
	File         string
	Line, Column int // both count from 1
}

func (p Pos) String() string {
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}

// SeenFrom returns the position for a fault at q: the line, or another file and its line.
func (p Pos) SeenFrom(q Pos) string {
	if p.File == q.File {
		return fmt.Sprintf("line %d", p.Line)
	}
	return fmt.Sprintf("%s:%d", filepath.Base(p.File), p.Line)
}

// Compare orders positions by file, line and column.
func (p Pos) Compare(q Pos) int {
	return cmp.Or(cmp.Compare(p.File, q.File), cmp.Compare(p.Line, q.Line), cmp.Compare(p.Column, q.Column))
}

func posOf(r hcl.Range) Pos {
	return Pos{File: r.Filename, Line: r.Start.Line, Column: r.Start.Column}
}

// Fault is one mistake in a configuration.
type Fault struct {
	Pos  Pos
	Text string // one line: the mistake, and the allowed values

	Warning bool   // the configuration is valid, but surely not as intended
	Source  string // the line at Pos; empty: unknown
	Size    int    // of the value in the line, in characters
}

func (f Fault) String() string {
	text := f.Text
	if f.Warning {
		text = "warning: " + text
	}
	if f.Pos == (Pos{}) {
		return text
	}
	return f.Pos.String() + ": " + text
}

// FaultsError is all mistakes in a configuration, in the order of its files.
type FaultsError struct {
	Faults []Fault // at least one
}

// Error returns one line for each fault.
func (e *FaultsError) Error() string {
	lines := make([]string, len(e.Faults))
	for i, f := range e.Faults {
		lines[i] = f.String()
	}
	return strings.Join(lines, "\n")
}

// faults collects mistakes in the order of their discovery.
type faults []Fault

func (f *faults) add(p Pos, format string, args ...any) {
	*f = append(*f, Fault{Pos: p, Text: fmt.Sprintf(format, args...)})
}

// sorted returns the faults in the order of the files, each once: several streams may find one fault in a shared destination.
func (f faults) sorted(texts Texts) []Fault {
	slices.SortStableFunc(f, func(a, b Fault) int { return a.Pos.Compare(b.Pos) })
	f = slices.Compact(f)
	for i := range f {
		f[i].Text = printable(f[i].Text)
	}
	texts.AddSources(f)
	return f
}

// oneLine gives HCL's texts the form of ours: one line, a lower-case first letter, no full stop.
func oneLine(s string) string {
	s = strings.TrimSuffix(strings.Join(strings.Fields(s), " "), ".")
	return strings.ToLower(s[:1]) + s[1:]
}

// printable writes the characters of a file that have no glyph as their escape sequences, as Quote does: a line break would
// end the text, and a terminal would execute a control character.
func printable(s string) string {
	var b strings.Builder
	for _, c := range s {
		if unicode.IsPrint(c) {
			b.WriteRune(c)
			continue
		}
		b.WriteString(strings.Trim(strconv.QuoteRune(c), "'"))
	}
	return b.String()
}

// Quote returns s in quotes, cut to 60 characters.
func Quote(s string) string {
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

// Instead returns the end of a fault text about an unknown name: the nearest known name, or else all known names.
func Instead(name string, known []string) string {
	if near, ok := Nearest(name, known); ok {
		return fmt.Sprintf("did you mean %q?", near)
	}
	return "allowed is " + either(known)
}

// Nearest returns the known name at a distance of at most two edits and less than half of its length, or else the only
// known name that begins or ends with name as a word.
func Nearest(name string, known []string) (string, bool) {
	best, at := "", 3
	for _, k := range known {
		d := levenshtein.Distance(name, k, nil)
		if swapped(name, k) {
			d = 1
		}
		if d < at && 2*d < len(k) {
			best, at = k, d
		}
	}
	if best == "" {
		best = onlyPart(name, known)
	}
	return best, best != ""
}

// onlyPart returns the only known name that begins or ends with name and a _ between, as delivery_stream for stream.
func onlyPart(name string, known []string) (whole string) {
	for _, k := range known {
		if name == "" || !strings.HasSuffix(k, "_"+name) && !strings.HasPrefix(k, name+"_") {
			continue
		}
		if whole != "" {
			return ""
		}
		whole = k
	}
	return whole
}

// swapped reports whether b is a with two neighboring bytes exchanged.
func swapped(a, b string) bool {
	if len(a) != len(b) || a == b {
		return false
	}
	i := 0
	for a[i] == b[i] {
		i++
	}
	return i+1 < len(a) && a[i] == b[i+1] && a[i+1] == b[i] && a[i+2:] == b[i+2:]
}
