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

func writeListJSON(out io.Writer, streams []admin.StreamStatus) error {
	list := []listed{}
	for _, s := range streams {
		for _, d := range s.Destinations {
			list = append(list, listed{s.Name, d})
		}
	}
	return cli.WriteJSON(out, list)
}

// writeList writes a table of the destinations that are not forgotten.
func writeList(out io.Writer, streams []admin.StreamStatus) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "STREAM\tNAME\tTYPE\tSTATE\tPENDING\tBYTES\tOLDEST\tDEAD LETTERS")
	for i := range streams {
		for _, d := range streams[i].Listed() {
			oldest := "-"
			if d.Pending.Events > 0 {
				oldest = admin.Age(d.Pending.Oldest())
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", cli.Printable(streams[i].Name), cli.Printable(d.Name), cli.Printable(d.Type), d.State,
				humanize.Comma(int64(d.Pending.Events)), humanize.IBytes(d.Pending.Bytes), oldest, humanize.Comma(int64(d.DeadLetters)))
		}
	}
	return w.Flush()
}
