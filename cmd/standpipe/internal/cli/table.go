package cli

import (
	"fmt"
	"math"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/dustin/go-humanize"
)

// TextWidth is the width of tables in characters, unless the terminal's is known.
const TextWidth = 80

// Table is a text for a terminal.
type Table struct {
	strings.Builder
	Columns int  // of the terminal; 0: TextWidth
	Color   bool // the text may have colors
}

// Width returns the width of the lines in characters.
func (t *Table) Width() int {
	if t.Columns > 0 {
		return t.Columns
	}
	return TextWidth
}

// Line adds a line without blanks at its end.
func (t *Table) Line(format string, args ...any) {
	t.WriteString(strings.TrimRight(fmt.Sprintf(format, args...), " ") + "\n")
}

// Note writes a text of any length, broken at spaces and indented by the length of first.
func (t *Table) Note(first, text string) {
	t.Mark(Plain, first, text)
}

// Mark is Note with a style for first.
func (t *Table) Mark(style Style, first, text string) {
	line, room := t.Paint(style, first), t.Width()-utf8.RuneCountInString(first)
	used := 0
	for _, word := range strings.Fields(Printable(text)) {
		length := utf8.RuneCountInString(word)
		if used > 0 && used+1+length > room {
			t.Line("%s", line)
			line, used = strings.Repeat(" ", len(first)), 0
		}
		if used > 0 {
			line, used = line+" ", used+1
		}
		line, used = line+word, used+length
	}
	t.Line("%s", line)
}

// Short formats n with commas if that takes at most width characters, else in thousands, millions and so on.
func Short(n uint64, width int) string {
	if text := humanize.Comma(int64(n)); len(text) <= width {
		return text
	}
	value, unit := humanize.ComputeSI(float64(n))
	return fmt.Sprintf("%.1f%s", value, unit)
}

// PerSecond formats a rate of events in up to 7 characters.
func PerSecond(events float64) string {
	switch {
	case events <= 0:
		return "-"
	case events < 10:
		return fmt.Sprintf("%.1f", events)
	}
	return Short(uint64(math.Round(events)), 7)
}

// Printable replaces control characters, which a terminal would execute.
func Printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' {
			return ' '
		}
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}

// Number returns a count and its noun.
func Number[N int | uint64](n N, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
