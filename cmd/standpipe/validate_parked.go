package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/dustin/go-humanize"

	"github.com/standpipe/standpipe/agent"
	"github.com/standpipe/standpipe/agent/config"
	"github.com/standpipe/standpipe/cmd/standpipe/internal/cli"
	"github.com/standpipe/standpipe/wal/inspect"
)

// printParked prints the destinations of the log in a data directory that conf does not have, one a line.
func printParked(ctx context.Context, out io.Writer, dir string, conf *config.Config) error {
	switch info, err := os.Stat(dir); {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("--data-dir %q: no such folder; want the data_dir of an agent, which the file has as %q", dir, conf.DataDir)
	case err == nil && !info.IsDir():
		return fmt.Errorf("--data-dir %q: a file; want the folder that is the data_dir of an agent", dir)
	}
	found, err := inspect.Inspect(ctx, dir)
	if errors.Is(err, inspect.ErrNoLog) {
		_, err = fmt.Fprintf(out, "%s: no log yet; nothing is parked\n", dir)
		return err
	}
	if err != nil {
		return fmt.Errorf("read the log in %s: %w", dir, err)
	}
	for _, p := range found.Cursors {
		if p.Parking.Forgotten || agent.Configures(conf, p.Stream, p.Destination) {
			continue
		}
		state := "would be parked"
		if p.Parking.Next > 0 {
			state = "is parked since " + p.Parking.At.UTC().Format("2006-01-02 15:04 UTC")
		}
		if _, err := fmt.Fprintf(out, "%s: destination %q of stream %q %s: the file does not have it; it holds %s (%s), and gets no others\n",
			dir, p.Destination, p.Stream, state, cli.Number(p.Pending.Events, "event"), humanize.IBytes(p.Pending.Bytes)); err != nil {
			return err
		}
	}
	return nil
}
