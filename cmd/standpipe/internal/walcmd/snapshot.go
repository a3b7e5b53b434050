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

func newSnapshot() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "snapshot DATA_DIR OUT",
		Short: "Copy a write-ahead log, also of a running agent",
		Long: "Copy the log in a data directory, with its dead letters, to OUT, also beside a running agent. The copy\n" +
			"contains every event that was acknowledged before the command started, and no checkpoint beyond its\n" +
			"events. The command verifies and syncs the copy before it reports success. OUT must be missing or\n" +
			"empty. An agent can run on it as its data_dir; its events then get other IDs. Segments that an\n" +
			"agent has set aside are not copied.\n\n" +
			"The exit code is 1 without a copy, and if a part of the log, and so of the copy, is damaged.",
		Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			return snapshot(c.Context(), c.OutOrStdout(), c.ErrOrStderr(), args[0], args[1], asJSON)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// snapshotJSON describes a finished snapshot.
type snapshotJSON struct {
	Out         string   `json:"out"`
	Segments    int      `json:"segments"`
	Bytes       int64    `json:"bytes"`
	Events      uint64   `json:"events"`
	DeadLetters bool     `json:"dead_letters"` // the log has a dead-letter file
	Exact       bool     `json:"exact"`
	Damage      []string `json:"damage"`
}

func snapshot(ctx context.Context, out, progress io.Writer, dir, to string, asJSON bool) error {
	shown := time.Now()
	report, err := inspect.Snapshot(ctx, dir, to, func(file string) {
		if time.Since(shown) >= progressAfter {
			shown = time.Now()
			fmt.Fprintf(progress, "copying %s\n", file)
		}
	})
	if err != nil {
		return err
	}
	if asJSON {
		err = writeSnapshotJSON(out, to, report)
	} else {
		err = writeSnapshot(out, to, report)
	}
	if err == nil && report.Verified.Damaged > 0 {
		return &cli.ExitError{Code: cli.ExitFailed}
	}
	return err
}

func writeSnapshotJSON(out io.Writer, to string, r *inspect.SnapshotReport) error {
	s := snapshotJSON{
		Out: to, Segments: r.Segments, Bytes: r.Bytes, Events: r.Verified.Events.Events,
		DeadLetters: r.Dead, Exact: r.Exact, Damage: []string{},
	}
	for _, d := range r.Verified.Damage {
		s.Damage = append(s.Damage, d.Error())
	}
	return cli.WriteJSON(out, s)
}

func writeSnapshot(out io.Writer, to string, r *inspect.SnapshotReport) error {
	t := &cli.Table{}
	for _, d := range r.Verified.Damage {
		t.Line("damage: %s", cli.Printable(d.Error()))
	}
	if !r.Exact {
		t.Note("note: ", "the log was written to without a pause: a numbered batch that was acknowledged meanwhile may be stored twice if it is sent to the copy again")
	}
	verdict := "verified"
	if r.Verified.Damaged > 0 {
		verdict = "damaged as the log is, " + cli.Number(r.Verified.Damaged, "place")
	}
	letters := ""
	if r.Dead {
		letters = ", with dead letters"
	}
	t.Line("%s: %s, %s, %s (%s%s)", cli.Printable(to), verdict, cli.Number(r.Segments, "segment"), events(r.Verified.Events.Events),
		humanize.IBytes(uint64(r.Bytes)), letters)
	_, err := io.WriteString(out, t.String())
	return err
}
