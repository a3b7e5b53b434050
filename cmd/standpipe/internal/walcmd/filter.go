package walcmd

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/standpipe/standpipe/cmd/standpipe/internal/cli"
	"github.com/standpipe/standpipe/wal/inspect"
)

// eventFilter is the flags that select events.
type eventFilter struct {
	options      inspect.DumpOptions
	since, until string
}

func (f *eventFilter) addTo(c *cobra.Command) {
	flags := c.Flags()
	flags.StringVar(&f.options.Key, "key", "", "only events of this partition key")
	flags.Uint64Var(&f.options.From, "from", 0, "the first `offset`")
	flags.Uint64Var(&f.options.To, "to", 0, "the `offset` to stop before")
	flags.StringVar(&f.since, "since", "", "only events of this `time` or later: RFC 3339, or how long ago, such as 90m or -90m")
	flags.StringVar(&f.until, "until", "", "only events before this `time`")
}

func (f *eventFilter) parse(now time.Time) (err error) {
	if f.options.Since, err = parseTime("--since", f.since, now); err != nil {
		return err
	}
	f.options.Until, err = parseTime("--until", f.until, now)
	return err
}

// parseTime parses a time, or a duration before now, with or without a minus.
func parseTime(flag, text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if ago, err := time.ParseDuration(text); err == nil {
		return now.Add(-ago.Abs()), nil
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return t, &cli.ExitError{Code: cli.ExitUsage, Err: fmt.Errorf("%s %q: want a time such as 2006-01-02T15:04:05Z, or how long ago, such as 90m", flag, text)}
	}
	return t, nil
}

// findStream returns the state of a stream in the log. The error for an unknown name lists the known ones.
func findStream(ctx context.Context, dir, name string) (inspect.StreamStat, error) {
	in, err := inspect.Inspect(ctx, dir)
	if err != nil {
		return inspect.StreamStat{}, err
	}
	i := slices.IndexFunc(in.Streams, func(s inspect.StreamStat) bool { return s.Name == name })
	if i < 0 {
		return inspect.StreamStat{}, fmt.Errorf("the log has no stream %q; it has %s", name, streamNames(in))
	}
	return in.Streams[i], nil
}

func streamNames(in *inspect.Inspection) string {
	var names []string
	for i, s := range in.Streams {
		if i == streamsShown {
			names = append(names, fmt.Sprintf("%d more", len(in.Streams)-i))
			break
		}
		names = append(names, cli.Printable(s.Name))
	}
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}
