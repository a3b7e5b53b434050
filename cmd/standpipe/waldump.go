package main

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

	"github.com/standpipe/standpipe/wal"
)

// errEnough ends a dump that has reached its limit.
var errEnough = errors.New("enough")

// dumpFlags are the flags of wal dump as they are given.
type dumpFlags struct {
	options      wal.DumpOptions
	since, until string
	limit        uint64
}

func newWALDumpCommand() *cobra.Command {
	var f dumpFlags
	c := &cobra.Command{
		Use:   "dump DATA_DIR",
		Short: "Print events, one JSON line each",
		Long: "Print the events in the log, one JSON line each: stream, offset, time, key, lane, attributes, and data\n" +
			"as text, or data_base64 where it is no UTF-8. The order is that of the segments; within a segment\n" +
			"stream by stream, by offset. What can't be read is told on standard error and passed over; the\n" +
			"exit code is 1 then.",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := f.parse(time.Now()); err != nil {
				return &exitError{code: exitUsage, err: err}
			}
			return f.dump(c.Context(), c.OutOrStdout(), c.ErrOrStderr(), args[0])
		},
	}
	flags := c.Flags()
	flags.StringVar(&f.options.Stream, "stream", "", "only this stream")
	flags.StringVar(&f.options.Key, "key", "", "only events of this partition key")
	flags.Uint64Var(&f.options.From, "from", 0, "the first `offset`")
	flags.Uint64Var(&f.options.To, "to", 0, "the `offset` to stop before")
	flags.StringVar(&f.since, "since", "", "only events of this `time` or later: RFC 3339, or how long ago, such as 90m")
	flags.StringVar(&f.until, "until", "", "only events before this `time`")
	flags.Uint64Var(&f.limit, "limit", 0, "stop after so many `events`")
	return c
}

func (f *dumpFlags) parse(now time.Time) (err error) {
	if f.options.Since, err = parseTime("--since", f.since, now); err != nil {
		return err
	}
	f.options.Until, err = parseTime("--until", f.until, now)
	return err
}

// parseTime reads a time, or a duration before now.
func parseTime(flag, text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if ago, err := time.ParseDuration(text); err == nil && ago >= 0 {
		return now.Add(-ago), nil
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return t, fmt.Errorf("%s %q: want a time such as 2006-01-02T15:04:05Z, or how long ago, such as 90m", flag, text)
	}
	return t, nil
}

func (f *dumpFlags) dump(ctx context.Context, out, errs io.Writer, dir string) error {
	lines := bufio.NewWriterSize(out, 64<<10)
	encoder := json.NewEncoder(lines)
	encoder.SetEscapeHTML(false)
	damaged := false
	f.options.Damaged = func(err *wal.CorruptError) {
		damaged = true
		fmt.Fprintf(errs, "standpipe: %s\n", printable(err.Error()))
	}
	n := uint64(0)
	err := wal.Dump(ctx, dir, f.options, func(e wal.DumpedEvent) error {
		if err := encoder.Encode(lineOf(e)); err != nil {
			return fmt.Errorf("write event: %w", err)
		}
		if n++; n == f.limit {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	if err = errors.Join(err, lines.Flush()); err == nil && damaged {
		err = &exitError{code: exitFailed}
	}
	return err
}

// dumpLine is an event as wal dump prints it.
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

func lineOf(e wal.DumpedEvent) *dumpLine {
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
