package deadcmd

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"unicode/utf8"

	"github.com/standpipe/standpipe/agent/admin"
	"github.com/standpipe/standpipe/cmd/standpipe/internal/cli"
)

const (
	deadStreamWidth      = 20
	deadDestinationWidth = 16
	deadKeyWidth         = 40
)

// table lists letters for a terminal of 80 columns, one by one.
type table struct {
	out    io.Writer
	headed bool
}

func newTable(out io.Writer) *table { return &table{out: out} }

func (d *table) letter(l admin.DeadStat) error {
	t := &cli.Table{}
	if !d.headed {
		t.Line("%8s %-*s %-*s %-19s %9s", "id", deadStreamWidth, "stream", deadDestinationWidth, "destination", "refused at (UTC)", "bytes")
		d.headed = true
	}
	d.row(t, l)
	_, err := io.WriteString(d.out, t.String())
	return err
}

func (d *table) row(t *cli.Table, l admin.DeadStat) {
	if l.Damage != "" {
		t.Line("%8d %s", l.ID, "can't be read:")
		t.Note("         ", l.Damage)
		return
	}
	t.Line("%8d %-*s %-*s %-19s %9s", l.ID, deadStreamWidth, clip(l.Stream, deadStreamWidth),
		deadDestinationWidth, clip(l.Destination, deadDestinationWidth), l.RefusedAt.UTC().Format("2006-01-02 15:04:05"),
		cli.Short(uint64(l.Bytes), 9))
	t.Note("         ", fmt.Sprintf("offset %d, key %q: %s", l.Offset, clip(l.Key, deadKeyWidth), l.Reason))
}

// clip cuts a text to width characters.
func clip(text string, width int) string {
	text = cli.Printable(text)
	if utf8.RuneCountInString(text) <= width {
		return text
	}
	return string([]rune(text)[:width-1]) + "…"
}

func timeText(t admin.Time) string { return t.UTC().Format("2006-01-02 15:04:05.999999999 UTC") }

func sortedNames(attributes map[string]string) []string { return slices.Sorted(maps.Keys(attributes)) }
