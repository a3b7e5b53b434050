package walcmd

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/standpipe/standpipe/cmd/standpipe/internal/cli"
	"github.com/standpipe/standpipe/wal/inspect"
)

// progressAfter is the interval of progress messages.
const progressAfter = 2 * time.Second

// New returns the command.
func New() *cobra.Command {
	c := &cobra.Command{
		Use:   "wal",
		Short: "Read a write-ahead log, also of a running agent, without changing it",
		Long: "Read the write-ahead log in a data directory, also of a running agent, or a copy of it. The files are\n" +
			"opened for reading, no lock is taken, nothing is changed.",
	}
	c.AddCommand(newList(), newDump(), newVerify(), newExport(), newSnapshot())
	return c
}

func newList() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "ls DATA_DIR",
		Short: "List the segments, the streams and the destinations' cursors",
		Long: "List the segments with their events, and the last checkpoint of each destination. live is the share\n" +
			"of a segment's events at or beyond the lowest checkpoint of their stream: a segment with live events\n" +
			"is kept. A ready segment is empty and will follow the active one. Assigned offsets that are in no\n" +
			"segment are listed as missing, with the files that contained them: the agent sets unreadable files\n" +
			"aside.",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			in, err := inspect.Inspect(c.Context(), args[0])
			if err != nil {
				return err
			}
			if asJSON {
				return writeJSON(c.OutOrStdout(), in)
			}
			return writeTable(c.OutOrStdout(), args[0], in)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func newVerify() *cobra.Command {
	return &cobra.Command{
		Use:   "verify DATA_DIR",
		Short: "Check every page, block and event, and that nothing is missing",
		Long: "Check every page, block and event of the log, that no pending event of a destination is missing, and\n" +
			"that the ledgers match the events.\n\n" +
			"The exit code is 1 if a part of the log is unreadable or missing. Segments that an agent has set\n" +
			"aside are no longer part of the log. They are listed, as are their gaps that are counted as dropped,\n" +
			"and do not count as damage.",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return verify(c.Context(), c.OutOrStdout(), c.ErrOrStderr(), args[0])
		},
	}
}

func verify(ctx context.Context, out, progress io.Writer, dir string) error {
	shown := time.Now()
	report, err := inspect.Verify(ctx, dir, func(p inspect.VerifyProgress) {
		if time.Since(shown) >= progressAfter {
			shown = time.Now()
			fmt.Fprintf(progress, "%s, %d of %d: %s so far\n", p.Segment, p.Segments, p.Of, counted(p))
		}
	})
	if err != nil {
		return err
	}
	if err := writeVerifyReport(out, report); err != nil {
		return err
	}
	if report.Damaged > 0 {
		return &cli.ExitError{Code: cli.ExitFailed}
	}
	return nil
}

func writeVerifyReport(out io.Writer, r *inspect.VerifyReport) error {
	t := &cli.Table{}
	for _, note := range r.Notes {
		t.Note("note: ", note)
	}
	for _, damage := range r.Damage {
		t.Line("damage: %s", cli.Printable(damage.Error()))
	}
	if more := r.Damaged - len(r.Damage); more > 0 {
		t.Line("damage: %d more places", more)
	}
	verdict := "ok"
	if r.Damaged > 0 {
		verdict = "damaged, " + cli.Number(r.Damaged, "place")
	}
	t.Line("%s: %s, %s", verdict, cli.Number(r.Segments, "segment"), counted(r.VerifyProgress))
	_, err := io.WriteString(out, t.String())
	return err
}

func counted(p inspect.VerifyProgress) string {
	return fmt.Sprintf("%s blocks, %s events (%s) in %s on the disk", humanize.Comma(int64(p.Blocks)),
		humanize.Comma(int64(p.Events.Events)), humanize.IBytes(p.Events.Bytes), humanize.IBytes(uint64(p.Bytes)))
}
