package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/standpipe/standpipe/agent"
	"github.com/standpipe/standpipe/agent/admin"
	"github.com/standpipe/standpipe/agent/config"
	"github.com/standpipe/standpipe/cmd/standpipe/internal/cli"
	"github.com/standpipe/standpipe/wal"
	"github.com/standpipe/standpipe/wal/inspect"
)

// parkedNote is a destination of a log that a configuration does not have.
type parkedNote struct {
	Stream      string     `json:"stream"`
	Destination string     `json:"destination"`
	Parked      admin.Time `json:"parked_at"` // zero: an agent would park it
	Events      uint64     `json:"events"`
	Bytes       uint64     `json:"bytes"`
	Oldest      admin.Time `json:"oldest"` // the time of the oldest event; zero: it holds none, or the log is damaged there
}

func (n *parkedNote) String() string {
	state := "would be parked"
	if !n.Parked.IsZero() {
		state = "is parked since " + minute(n.Parked.Time)
	}
	held := fmt.Sprintf("%s (%s)", cli.Number(n.Events, "event"), humanize.IBytes(n.Bytes))
	if !n.Oldest.IsZero() {
		held += ", the oldest of " + minute(n.Oldest.Time)
	}
	return fmt.Sprintf("destination %q of stream %q %s: the file does not have it; it holds %s, and gets no others", n.Destination, n.Stream, state, held)
}

func minute(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

// printParked prints the destinations of the log in a data directory that conf does not have, one a line.
func printParked(ctx context.Context, out io.Writer, dir string, conf *config.Config) error {
	notes, err := parkedBy(ctx, dir, conf)
	if errors.Is(err, inspect.ErrNoLog) {
		_, err = fmt.Fprintf(out, "%s: no log yet; nothing is parked\n", dir)
		return err
	}
	if err != nil {
		return err
	}
	for i := range notes {
		if _, err := fmt.Fprintf(out, "%s: %s\n", dir, notes[i].String()); err != nil {
			return err
		}
	}
	return nil
}

// parkedBy returns the destinations of the log in a data directory that conf does not have.
func parkedBy(ctx context.Context, dir string, conf *config.Config) ([]parkedNote, error) {
	switch info, err := os.Stat(dir); {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("--data-dir %q: no such folder; want the data_dir of an agent, which the file has as %q", dir, conf.DataDir)
	case err == nil && !info.IsDir():
		return nil, fmt.Errorf("--data-dir %q: a file; want the folder that is the data_dir of an agent", dir)
	}
	found, err := inspect.Inspect(ctx, dir)
	if err != nil {
		return nil, fmt.Errorf("read the log in %s: %w", dir, err)
	}
	notes := []parkedNote{}
	for _, p := range found.Cursors {
		if p.Parking.Forgotten || agent.Configures(conf, p.Stream, p.Destination) {
			continue
		}
		n := parkedNote{Stream: p.Stream, Destination: p.Destination, Events: p.Pending.Events, Bytes: p.Pending.Bytes}
		if p.Parking.Next > 0 {
			n.Parked.Time = p.Parking.At
		}
		if n.Events > 0 {
			if n.Oldest.Time, err = timeOf(ctx, dir, p.Stream, p.Checkpoint); err != nil {
				return nil, fmt.Errorf("read the log in %s: %w", dir, err)
			}
		}
		notes = append(notes, n)
	}
	return notes, nil
}

// timeOf returns the time of the first event from an offset on; zero if none can be read.
func timeOf(ctx context.Context, dir, stream string, offset uint64) (at time.Time, err error) {
	found := errors.New("found")
	options := inspect.DumpOptions{Stream: stream, From: offset, Damaged: func(*wal.CorruptError) {}}
	err = inspect.Dump(ctx, dir, options, func(e inspect.DumpedEvent) error {
		at = time.Unix(0, e.Time)
		return found
	})
	if errors.Is(err, found) {
		err = nil
	}
	return at, err
}
