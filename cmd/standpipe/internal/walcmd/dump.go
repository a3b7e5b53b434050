package walcmd

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/standpipe/standpipe/cmd/standpipe/internal/cli"
	"github.com/standpipe/standpipe/wal"
	"github.com/standpipe/standpipe/wal/inspect"
)

// errEnough ends a dump that has reached its limit.
var errEnough = errors.New("enough")

func newDump() *cobra.Command {
	var f eventFilter
	var limit uint64
	c := &cobra.Command{
		Use:   "dump DATA_DIR",
		Short: "Print events, one JSON line each",
		Long: "Print the events in the log, one JSON line each: stream, offset, time, key, lane, attributes, and data\n" +
			"as text, or data_base64 if it is not UTF-8. They are sorted by segment, then by stream, then by\n" +
			"offset. Damaged parts are reported on standard error and skipped; the exit code is 1 then.",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := f.parse(time.Now()); err != nil {
				return err
			}
			return dumpEvents(c.Context(), c.OutOrStdout(), c.ErrOrStderr(), args[0], f.options, limit)
		},
	}
	c.Flags().StringVar(&f.options.Stream, "stream", "", "only this stream")
	f.addTo(c)
	c.Flags().Uint64Var(&limit, "limit", 0, "stop after so many `events`")
	return c
}

// dumpEvents prints the events that match o, at most limit of them; 0: all.
func dumpEvents(ctx context.Context, out, errs io.Writer, dir string, o inspect.DumpOptions, limit uint64) error {
	lines := bufio.NewWriterSize(out, 64<<10)
	encoder := json.NewEncoder(lines)
	encoder.SetEscapeHTML(false)
	damaged := reportDamage(&o, errs)
	n := uint64(0)
	err := inspect.Dump(ctx, dir, o, func(e inspect.DumpedEvent) error {
		if err := encoder.Encode(lineOf(e)); err != nil {
			return fmt.Errorf("write event: %w", err)
		}
		if n++; n == limit {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	if err == nil && n == 0 && o.Stream != "" { // no events, or no such stream
		_, err = findStream(ctx, dir, o.Stream)
	}
	if err = errors.Join(err, lines.Flush()); err == nil && *damaged {
		err = &cli.ExitError{Code: cli.ExitFailed}
	}
	return err
}

// reportDamage makes a dump print damage to errs and skip it. *damaged is valid after the dump.
func reportDamage(o *inspect.DumpOptions, errs io.Writer) (damaged *bool) {
	damaged = new(bool)
	o.Damaged = func(err *wal.CorruptError) {
		*damaged = true
		fmt.Fprintf(errs, "standpipe: %s\n", cli.Printable(err.Error()))
	}
	return damaged
}

// dumpLine is one line of wal dump.
type dumpLine struct {
	Stream     string            `json:"stream"`
	Offset     uint64            `json:"offset"`
	Time       time.Time         `json:"time"`
	Key        string            `json:"key"`
	Lane       uint8             `json:"lane"`
	Attributes map[string]string `json:"attributes,omitempty"`
	Data       *string           `json:"data,omitempty"`
	DataBase64 []byte            `json:"data_base64,omitempty"`
}

func lineOf(e inspect.DumpedEvent) *dumpLine {
	line := &dumpLine{
		Stream: e.Stream, Offset: e.Offset, Time: time.Unix(0, e.Time).UTC(),
		Key: e.Key, Lane: e.Lane, Attributes: e.Attributes,
	}
	if utf8.Valid(e.Data) {
		text := string(e.Data)
		line.Data = &text
	} else {
		line.DataBase64 = e.Data
	}
	return line
}
