package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"path"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/standpipe/standpipe/agent/admin"
	"github.com/standpipe/standpipe/cmd/standpipe/internal/cli"
)

const (
	statusTimeout  = 10 * time.Second
	maxStatusBytes = 64 << 20
	watchInterval  = 2 * time.Second
	minInterval    = 100 * time.Millisecond
)

func newStatusCommand() *cobra.Command {
	var dial cli.DialFlags
	var asJSON, cost, watching bool
	var interval time.Duration
	var only view
	c := &cobra.Command{
		Use:   "status",
		Short: "Show the state of a running agent",
		Long: `Show the state of a running agent: its problems, the WAL, and each stream with its
destinations. If there are many streams, the healthy ones are one line.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, args []string) error {
			if _, err := path.Match(only.stream, ""); err != nil {
				return &cli.ExitError{Code: cli.ExitUsage, Err: fmt.Errorf("invalid --stream %q: want a name or a pattern like meter-*", only.stream)}
			}
			if err := only.card.check(); err != nil {
				return &cli.ExitError{Code: cli.ExitUsage, Err: err}
			}
			if watching {
				return watchStatus(c.Context(), c.OutOrStdout(), &dial, interval, only)
			}
			if cost {
				return showCost(c.Context(), c.OutOrStdout(), &dial, asJSON, &only.card)
			}
			return showStatus(c.Context(), c.OutOrStdout(), &dial, asJSON, only)
		},
	}
	c.Flags().BoolVar(&cost, "cost", false, "show the cost of shipping so far")
	c.Flags().BoolVar(&only.problems, "problems", false, "show the problems alone")
	c.Flags().StringVar(&only.stream, "stream", "", "show only the streams whose names match this pattern")
	_ = c.RegisterFlagCompletionFunc("stream", cli.Streams) // an error is a second registration
	c.Flags().BoolVar(&only.all, "all", false, "show the healthy streams too, however many there are")
	c.Flags().BoolVar(&watching, "watch", false, "show the status again and again until Ctrl-C")
	c.Flags().DurationVar(&interval, "interval", watchInterval, "the time between two updates of --watch")
	c.Flags().BoolVar(&only.check, "check", false, "exit with 1 if events are not accepted or a destination is blocked")
	c.Flags().BoolVar(&asJSON, "json", false, "print the JSON of /v1/status")
	only.card.add(c, "")
	for _, other := range []string{"json", "cost", "check"} {
		c.MarkFlagsMutuallyExclusive("watch", other)
	}
	dial.Flags(c, "admin", cli.DefaultAdminAddress)
	return c
}

// view is the part of a status to show.
type view struct {
	problems bool   // nothing else
	stream   string // a pattern of path.Match; empty: all
	all      bool   // the healthy streams too, if there are many
	check    bool
	card     card // its life is shown, if there is one
}

// write writes the view of s.
func (v view) write(out io.Writer, s admin.Status, now time.Time, screen cli.Screen) error {
	if v.problems {
		return writeProblems(out, v.of(s), now, screen)
	}
	if err := writeStatus(out, v.of(s), now, screen, v.all || v.stream != ""); err != nil || v.card.bytes == 0 {
		return err
	}
	_, err := fmt.Fprintf(out, "\nat the writes of the last hour %s\n", v.card.life(writtenPerDay(&s.WAL)))
	return err
}

// errUnhealthy ends `status --check` with exit code 1. The status that was printed has the reason.
var errUnhealthy = &cli.ExitError{Code: cli.ExitFailed}

func showStatus(ctx context.Context, out io.Writer, dial *cli.DialFlags, asJSON bool, only view) error {
	body, err := fetchStatus(ctx, dial)
	if err != nil {
		return err
	}
	status, err := decodeStatus(body, dial.Address)
	if err != nil {
		return err
	}
	if asJSON {
		_, err = out.Write(body)
	} else {
		err = only.write(out, status, time.Now(), cli.ScreenOf(out))
	}
	if err == nil && only.check && !healthy(status) {
		return errUnhealthy
	}
	return err
}

// watchStatus shows the status until the program is interrupted.
func watchStatus(ctx context.Context, out io.Writer, dial *cli.DialFlags, interval time.Duration, only view) error {
	if interval < minInterval {
		return &cli.ExitError{Code: cli.ExitUsage, Err: fmt.Errorf("invalid --interval %s: want %s or more", interval, minInterval)}
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	w := &watch{
		out: out, screen: func() cli.Screen { return cli.ScreenOf(out) }, interval: interval, write: only.write,
		fetch: func(ctx context.Context) (admin.Status, error) { return getStatus(ctx, dial) },
	}
	return w.run(ctx)
}

// healthy reports whether events are accepted and no destination is blocked.
func healthy(s admin.Status) bool {
	return s.Accepting.OK && !slices.ContainsFunc(s.Streams, func(stream admin.StreamStatus) bool {
		return slices.ContainsFunc(stream.Destinations, func(d admin.DestinationStatus) bool { return d.State == admin.Blocked })
	})
}

// of returns the part of s to show.
func (v view) of(s admin.Status) admin.Status {
	shown := func(stream string) bool {
		match, _ := path.Match(v.stream, stream) // the pattern is valid
		return v.stream == "" || match
	}
	s.Problems = slices.DeleteFunc(slices.Clone(s.Problems), func(p admin.Problem) bool { return p.Stream != "" && !shown(p.Stream) })
	s.Streams = slices.DeleteFunc(slices.Clone(s.Streams), func(stream admin.StreamStatus) bool { return !shown(stream.Name) })
	return s
}

// showCost prints the bill of all destinations so far, at the agent's own prices.
func showCost(ctx context.Context, out io.Writer, dial *cli.DialFlags, asJSON bool, k *card) error {
	status, err := getStatus(ctx, dial)
	if err != nil {
		return err
	}
	b, err := billOf(status, nil, "", k)
	if err != nil {
		return err
	}
	return b.write(out, asJSON)
}

func getStatus(ctx context.Context, dial *cli.DialFlags) (status admin.Status, err error) {
	body, err := fetchStatus(ctx, dial)
	if err != nil {
		return status, err
	}
	return decodeStatus(body, dial.Address)
}

func decodeStatus(body []byte, address string) (status admin.Status, err error) {
	if err := json.Unmarshal(body, &status); err != nil {
		return status, fmt.Errorf("read the status of the agent at %s: %w", address, err)
	}
	return status, nil
}

// fetchStatus returns the body of /v1/status.
func fetchStatus(ctx context.Context, dial *cli.DialFlags) ([]byte, error) {
	client, err := dial.Admin()
	if err != nil {
		return nil, err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	response, err := client.Call(ctx, http.MethodGet, "/v1/status", nil)
	if err != nil {
		return nil, err
	}
	defer response.Close()
	body, err := io.ReadAll(io.LimitReader(response, maxStatusBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read the response of the agent at %s: %w", dial.Address, err)
	}
	if len(body) > maxStatusBytes {
		return nil, fmt.Errorf("the response of the agent at %s exceeds %d bytes", dial.Address, maxStatusBytes)
	}
	return body, nil
}
