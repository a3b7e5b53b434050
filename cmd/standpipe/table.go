package main

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/dustin/go-humanize"
)

const textWidth = 80 // characters

// table is a text for a terminal of 80 columns.
type table struct{ strings.Builder }

func (t *table) line(format string, args ...any) {
	t.WriteString(strings.TrimRight(fmt.Sprintf(format, args...), " ") + "\n")
}

// note writes a text of any length, broken at spaces and indented by the length of first.
func (t *table) note(first, text string) {
	line, room := first, textWidth-utf8.RuneCountInString(first)
	used := 0
	for _, word := range strings.Fields(printable(text)) {
		length := utf8.RuneCountInString(word)
		if used > 0 && used+1+length > room {
			t.line("%s", line)
			line, used = strings.Repeat(" ", len(first)), 0
		}
		if used > 0 {
			line, used = line+" ", used+1
		}
		line, used = line+word, used+length
	}
	t.line("%s", line)
}

// short formats n with commas if that takes at most width characters, else in thousands, millions and so on.
func short(n uint64, width int) string {
	if text := humanize.Comma(int64(n)); len(text) <= width {
		return text
	}
	value, unit := humanize.ComputeSI(float64(n))
	return fmt.Sprintf("%.1f%s", value, unit)
}

// printable replaces control characters, which a terminal would execute.
func printable(s string) string {
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

// number returns a count and its noun.
func number[N int | uint64](n N, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
