package walcmd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/standpipe/standpipe/cmd/standpipe/internal/cli"
	"github.com/standpipe/standpipe/wal/inspect"
)

func newExport() *cobra.Command {
	var f eventFilter
	var folder, roll string
	var raw bool
	c := &cobra.Command{
		Use:   "export DATA_DIR STREAM --out FOLDER",
		Short: "Write a stream's events to files",
		Long: "Write the events of a stream in the log to files in a folder: the lines of wal dump or, with --raw,\n" +
			"only their data, one event a line. A complete and synced file is named STREAM-FIRST-LAST, with the\n" +
			"offsets of its first and last event. Nothing is overwritten: an export into a folder with files of\n" +
			"the stream continues after the last of them.\n\n" +
			"Damaged parts are reported on standard error and skipped; the exit code is 1 then.",
		Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			if err := f.parse(time.Now()); err != nil {
				return err
			}
			size, err := humanize.ParseBytes(roll)
			if err != nil || size == 0 {
				return &cli.ExitError{Code: cli.ExitUsage, Err: fmt.Errorf("--roll-size %q: want a size such as 64MiB", roll)}
			}
			e := exporting{filter: f.options, raw: raw, errs: c.ErrOrStderr()}
			e.filter.Stream = args[1]
			return e.run(c.Context(), c.OutOrStdout(), args[0], exportFiles{folder: folder, stream: args[1], roll: int64(min(size, 1<<62))})
		},
	}
	c.Flags().StringVar(&folder, "out", "", "the `folder` to write to; created if missing")
	c.Flags().BoolVar(&raw, "raw", false, "write only the events' data, one event a line")
	c.Flags().StringVar(&roll, "roll-size", "64MiB", "start a new file at this `size`")
	f.addTo(c)
	_ = c.MarkFlagRequired("out") // the flag exists
	return c
}

// exporting is a running export.
type exporting struct {
	filter inspect.DumpOptions
	raw    bool
	errs   io.Writer
	files  *exportFiles
	until  uint64 // the offset after the stream's last
	shown  time.Time

	line      bytes.Buffer // of one event
	events    uint64
	manyLines uint64 // events whose data is more than one line
}

func (e *exporting) run(ctx context.Context, out io.Writer, dir string, files exportFiles) error {
	s, err := findStream(ctx, dir, files.stream)
	if err != nil {
		return err
	}
	if files.suffix = ".jsonl"; e.raw {
		files.suffix = ".txt"
	}
	last, err := files.open()
	if err != nil {
		return err
	}
	defer files.close()
	if last > 0 {
		fmt.Fprintf(e.errs, "%s: goes on after offset %d, up to which %s has it\n", files.stream, last, files.folder)
		e.filter.From = max(e.filter.From, last+1)
	}
	e.files, e.until, e.shown = &files, s.Next, time.Now()
	damaged := reportDamage(&e.filter, e.errs)
	err = inspect.Dump(ctx, dir, e.filter, e.event)
	if err = errors.Join(err, files.finish()); err != nil {
		return err
	}
	e.sumUp(out)
	if *damaged {
		return &cli.ExitError{Code: cli.ExitFailed}
	}
	return nil
}

func (e *exporting) event(d inspect.DumpedEvent) error {
	e.line.Reset()
	if e.raw {
		e.line.Write(d.Data)
		e.line.WriteByte('\n')
		if bytes.IndexByte(d.Data, '\n') >= 0 {
			e.manyLines++
		}
	} else {
		encoder := json.NewEncoder(&e.line)
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(lineOf(d)); err != nil {
			return fmt.Errorf("encode event %d: %w", d.Offset, err)
		}
	}
	if err := e.files.write(d.Offset, e.line.Bytes()); err != nil {
		return err
	}
	if e.events++; time.Since(e.shown) >= progressAfter {
		e.shown = time.Now()
		fmt.Fprintf(e.errs, "%s: offset %s of %s: %s so far\n", e.filter.Stream, humanize.Comma(int64(d.Offset)),
			humanize.Comma(int64(e.until-1)), e.written())
	}
	return nil
}

func (e *exporting) written() string {
	return fmt.Sprintf("%s in %s", events(e.events), humanize.IBytes(uint64(e.files.written)))
}

func (e *exporting) sumUp(out io.Writer) {
	if e.events == 0 {
		fmt.Fprintf(out, "%s: no event to export\n", e.filter.Stream)
		return
	}
	fmt.Fprintf(out, "%s: %s, %s\n", e.filter.Stream, e.written(), cli.Number(len(e.files.names), "file"))
	fmt.Fprintf(out, "  %s\n", strings.Join(e.files.names, "\n  "))
	if e.manyLines > 0 {
		fmt.Fprintf(e.errs, "standpipe: %s with newlines in the data: they are more than one line\n", events(e.manyLines))
	}
}
