package destinationcmd

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/dustin/go-humanize"

	"github.com/standpipe/standpipe/agent/admin"
	"github.com/standpipe/standpipe/cmd/standpipe/internal/cli"
)

// listed is a destination with its stream.
type listed struct {
	Stream string `json:"stream"`
	admin.DestinationStatus
}

func listOf(streams []admin.StreamStatus) []listed {
	list := []listed{}
	for _, s := range streams {
		for _, d := range s.Destinations {
			list = append(list, listed{s.Name, d})
		}
	}
	return list
}

func writeListJSON(out io.Writer, streams []admin.StreamStatus) error {
	return cli.WriteJSON(out, listOf(streams))
}

// writeList writes a table. It leaves out forgotten destinations, which hold nothing.
func writeList(out io.Writer, streams []admin.StreamStatus) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "STREAM\tNAME\tTYPE\tSTATE\tPENDING\tBYTES\tOLDEST\tDEAD LETTERS")
	for _, d := range listOf(streams) {
		if d.State == admin.Forgotten {
			continue
		}
		oldest := "-"
		if d.Pending.Events > 0 {
			oldest = admin.Age(d.Pending.Oldest())
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", cli.Printable(d.Stream), cli.Printable(d.Name), cli.Printable(d.Type), d.State,
			humanize.Comma(int64(d.Pending.Events)), humanize.IBytes(d.Pending.Bytes), oldest, humanize.Comma(int64(d.DeadLetters)))
	}
	return w.Flush()
}
