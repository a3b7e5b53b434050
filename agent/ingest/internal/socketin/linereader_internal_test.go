package socketin

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/standpipe/standpipe/agent/ingest/internal/budget"
)

// TestLineReader cuts one text into lines however its bytes arrive.
func TestLineReader(t *testing.T) {
	text := "a\n\n12345678\n123456789\nb\r\n" + strings.Repeat("x", 10_000) + "\nlast"
	want := []string{"a", "", "12345678", "long 9", "b\r", "long 10000", "last", "EOF"}
	for name, from := range map[string]io.Reader{
		"at once":          strings.NewReader(text),
		"byte by byte":     iotest.OneByteReader(strings.NewReader(text)),
		"end with the end": iotest.DataErrReader(strings.NewReader(text)),
		"half of it":       iotest.HalfReader(strings.NewReader(text)),
	} {
		l := lineReader{from: from, max: 8, budget: budget.New(0)}
		if got := readLines(&l); !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}

// TestLineReader_DropsAPartBeforeAnError: only the end of a connection ends a line.
func TestLineReader_DropsAPartBeforeAnError(t *testing.T) {
	broken := io.MultiReader(strings.NewReader("a\npart"), iotest.ErrReader(io.ErrUnexpectedEOF))
	got := readLines(&lineReader{from: broken, max: 8, budget: budget.New(0)})
	if want := []string{"a", "unexpected EOF"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestLineReader_ReleasesALargeBuffer(t *testing.T) {
	l := lineReader{from: iotest.HalfReader(strings.NewReader(strings.Repeat("x", 1<<20) + "\na\n")), max: 1 << 20, budget: budget.New(2 << 20)}
	for range 2 {
		if _, err := l.next(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := l.next(); !errors.Is(err, io.EOF) || cap(l.buf) > idleBuffer {
		t.Errorf("got %v and a buffer of %d bytes after a long line, want at most %d", err, cap(l.buf), idleBuffer)
	}
}

func readLines(l *lineReader) (lines []string) {
	for {
		line, err := l.next()
		if long, ok := errors.AsType[*longLineError](err); ok {
			lines = append(lines, fmt.Sprint("long ", long.size))
			continue
		}
		if err != nil {
			return append(lines, err.Error())
		}
		lines = append(lines, string(line))
	}
}
