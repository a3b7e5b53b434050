package socketin

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/standpipe/standpipe/agent/ingest/internal/budget"
	"github.com/standpipe/standpipe/agent/ingest/internal/intake"
)

// FuzzLineReader: however the bytes arrive, the lines are those between the newlines, and all room that was
// taken for them is given back.
func FuzzLineReader(f *testing.F) {
	f.Add([]byte("a\n\nlong line\nlast"), uint8(4), false)
	f.Add([]byte("\n\r\n"), uint8(1), true)
	f.Add(append(bytes.Repeat([]byte("x"), 200<<10), '\n', 'y'), uint8(255), true)
	f.Fuzz(func(t *testing.T, text []byte, most uint8, slow bool) {
		const all = 100 << 10
		l := lineReader{from: bytes.NewReader(text), max: int(most) << 10, budget: budget.New(all)}
		if slow {
			l.from = iotest.HalfReader(l.from)
		}
		var want []string
		parts := strings.SplitAfter(string(text), "\n")
		for _, part := range parts {
			switch line := strings.TrimSuffix(part, "\n"); {
			case part == "":
			case len(line) > l.max:
				want = append(want, fmt.Sprint("long ", len(line)))
			default:
				want = append(want, line)
			}
		}
		got := readLines(&l)
		if got[len(got)-1] != io.EOF.Error() {
			t.Fatalf("got %q at the end", got[len(got)-1])
		}
		got = got[:len(got)-1]
		// where there is no room for a line that is within the limit it is passed over too
		for i := range min(len(got), len(want)) {
			if got[i] == fmt.Sprint("long ", len(want[i])) && len(want[i]) > all/2 {
				got[i] = want[i]
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("got %d lines, want %d", len(got), len(want))
		}
		l.giveUp()
		if left := l.budget.Left(); left != all {
			t.Errorf("%d bytes of room are left, want %d", left, all)
		}
	})
}

// TestLineReader_SkipsLinesOverTheBudget: a line that finds no room is passed over, and those after it are not.
func TestLineReader_SkipsLinesOverTheBudget(t *testing.T) {
	crowd := budget.New(64 << 10)
	first := lineReader{from: strings.NewReader(strings.Repeat("x", 100<<10)), max: 1 << 20, budget: crowd}
	for range 6 { // 128 KiB, and no newline yet
		if !first.fill() {
			t.Fatal("no room for the first")
		}
	}
	second := lineReader{from: strings.NewReader(strings.Repeat("y", 100<<10) + "\nb\n"), max: 1 << 20, budget: crowd}
	_, err := second.next()
	if long, ok := err.(*longLineError); !ok || long.refusal() != intake.ErrOverBudget {
		t.Errorf("got %v, want that there is no room", err)
	}
	if line, err := second.next(); string(line) != "b" || err != nil {
		t.Errorf("got %q, %v, want the line after it", line, err)
	}
	first.giveUp()
	third := lineReader{from: strings.NewReader(strings.Repeat("y", 100<<10) + "\n"), max: 1 << 20, budget: crowd}
	if line, err := third.next(); len(line) != 100<<10 || err != nil {
		t.Errorf("got %d bytes, %v once there is room again", len(line), err)
	}
}
