// Package replaycmd is the command that sends a range of events to a destination again.
package replaycmd

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/standpipe/standpipe/agent/admin"
	"github.com/standpipe/standpipe/cmd/standpipe/internal/cli"
)

const (
	// timeout is the longest time of one request.
	timeout = 30 * time.Second
	// look is the time between two requests for the progress.
	look = 500 * time.Millisecond
)

// New returns the command.
func New() *cobra.Command {
	var r run
	c := &cobra.Command{
		Use:   "replay STREAM",
		Short: "Send a range of events of a stream to one destination again",
		Long: `Send a range of events of a stream to one destination again, under the IDs that they had. It sends
what the log still has: pending events, and settled ones for the time of the setting retain. Live
events go first. Ctrl-C cancels the replay; it ends too when the agent stops, and is not resumed.

A destination of type file, s3, statsd, stdout or relay, a Kafka destination with exactly_once and a
FIFO queue take no replay; the error has the reason.`,
		Example: `  standpipe replay orders --destination live --from 2026-11-29T10:00:00Z --to 2026-11-29T11:00:00Z
  standpipe replay orders --destination live --from 1h --key customer-17
  standpipe replay orders --destination live --cancel`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: cli.Streams,
		RunE:              r.dial.WithAdmin(func(c *cobra.Command, client *cli.AdminClient, args []string) error { return r.run(c, client, args[0]) }),
	}
	f := c.Flags()
	f.StringVar(&r.destination, "destination", "", "send to the destination of this `name`")
	f.StringVar(&r.from, "from", "", "begin at `oldest|OFFSET|TIME`; a TIME is as in RFC 3339, or a duration back from now, like 10m")
	f.StringVar(&r.to, "to", "now", "end before `now|OFFSET|TIME`")
	f.StringArrayVar(&r.keys, "key", nil, "send only events of this partition `key`; may be given several times")
	f.BoolVar(&r.detach, "detach", false, "do not wait for the end")
	f.BoolVar(&r.status, "status", false, "print the progress of the replay that runs, or the latest result")
	f.BoolVar(&r.cancel, "cancel", false, "cancel the replay that runs")
	f.BoolVar(&r.asJSON, "json", false, "print the result as JSON")
	c.MarkFlagRequired("destination")
	c.MarkFlagsMutuallyExclusive("from", "status", "cancel")
	c.MarkFlagsOneRequired("from", "status", "cancel")
	c.RegisterFlagCompletionFunc("destination", cli.Destinations)
	r.dial.Flags(c, "admin", cli.DefaultAdminAddress)
	return c
}

type run struct {
	dial                           cli.DialFlags
	destination, from, to          string
	keys                           []string
	detach, status, cancel, asJSON bool
}

func (r *run) run(c *cobra.Command, client *cli.AdminClient, stream string) error {
	path := "/v1/streams/" + url.PathEscape(stream) + "/destinations/" + url.PathEscape(r.destination) + "/replay"
	call := func(ctx context.Context, method string, arg any) (p admin.Replay, err error) {
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		return p, client.CallJSON(ctx, method, path, arg, &p)
	}
	if r.status || r.cancel {
		method := http.MethodGet
		if r.cancel {
			method = http.MethodDelete
		}
		p, err := call(c.Context(), method, nil)
		if err != nil {
			return err
		}
		return r.print(c, &p, p.Error)
	}
	q, err := r.request(time.Now())
	if err != nil {
		return &cli.ExitError{Code: cli.ExitUsage, Err: err}
	}
	ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	p, err := call(ctx, http.MethodPost, q)
	if err != nil {
		return err
	}
	screen := cli.ScreenOf(c.ErrOrStderr())
	for !r.detach && p.State == admin.ReplayRunning {
		if screen.Terminal {
			fmt.Fprintf(c.ErrOrStderr(), "\r%s\x1b[K", fit(progress(&p), screen.Columns))
		}
		select {
		case <-time.After(look):
			p, err = call(ctx, http.MethodGet, nil)
		case <-ctx.Done():
		}
		if ctx.Err() != nil { // Ctrl-C
			p, err = call(c.Context(), http.MethodDelete, nil)
		}
		if err != nil {
			return err
		}
	}
	if screen.Terminal && !r.detach {
		fmt.Fprint(c.ErrOrStderr(), "\r\x1b[K")
	}
	if err := r.print(c, &p, ""); err != nil { // the error is that of the command
		return err
	}
	if p.State == admin.ReplayFailed || p.State == admin.ReplayCancelled {
		return errors.New(p.Error)
	}
	return nil
}

func (r *run) request(now time.Time) (q admin.ReplayRequest, err error) {
	from, err := cli.ParsePosition("from", r.from, now)
	if err != nil {
		return q, err
	}
	to, err := cli.ParsePosition("to", r.to, now)
	switch {
	case err != nil:
		return q, err
	case from == cli.Position{}:
		return q, errors.New("--from now is an empty range")
	case to.Oldest:
		return q, errors.New("--to oldest is an empty range")
	}
	return admin.ReplayRequest{
		FromOldest: from.Oldest, FromOffset: from.Offset, FromTime: from.Time, ToOffset: to.Offset, ToTime: to.Time, Keys: r.keys,
	}, nil
}

// print prints a replay, and for people the reason of its end, if that is not empty.
func (r *run) print(c *cobra.Command, p *admin.Replay, reason string) error {
	if r.asJSON {
		return cli.WriteJSON(c.OutOrStdout(), p)
	}
	line := progress(p)
	if reason != "" {
		line += "; " + cli.Printable(reason)
	}
	_, err := fmt.Fprintln(c.OutOrStdout(), line)
	return err
}

// progress returns one line about a replay.
func progress(p *admin.Replay) string {
	line := fmt.Sprintf("replay %s: %s (%s) sent", p.State, cli.Number(p.Events, "event"), humanize.IBytes(p.Bytes))
	if p.Rejected > 0 {
		line += fmt.Sprintf(", %d rejected (the first: %s)", p.Rejected, cli.Printable(p.FirstRejection))
	}
	line += fmt.Sprintf(", at offset %d of %d to %d, %s/s", p.Offset, p.From, p.To-1, cli.PerSecond(p.EventsPerSecond))
	if p.Waits != "" {
		line += ", waits: " + cli.Printable(p.Waits)
	}
	return line
}

// fit cuts a line to the columns of a terminal.
func fit(line string, columns int) string {
	if runes := []rune(line); columns > 0 && len(runes) >= columns {
		return string(runes[:columns-1])
	}
	return line
}
