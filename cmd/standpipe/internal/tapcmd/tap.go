// Package tapcmd is the command that prints the events of streams as they are appended.
package tapcmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/standpipe/standpipe/client"
	"github.com/standpipe/standpipe/cmd/standpipe/internal/cli"
)

// newStreams is the time between two looks for streams that a pattern matches.
const newStreams = time.Second

// New returns the command.
func New() *cobra.Command {
	var r run
	c := &cobra.Command{
		Use:   "tap STREAM",
		Short: "Print the events of a stream as they are appended",
		Long: `Print the events of a stream of a running agent as they are appended, one JSON envelope a line, until
Ctrl-C. A STREAM with * stands for all streams that it matches, also for those that begin later.

Reading changes nothing: destinations get every event, and an event that all of them have may be gone
from the log. Such a gap is one line on standard error, and exit code 1 at the end. On a listener with
auth the caller is an identity with the stream in its setting read.`,
		Example: `  standpipe tap orders --from oldest --key customer-17
  standpipe tap 'meter-*' --limit 10
  standpipe tap orders --from 2026-11-29T10:00:00Z --follow=false`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: cli.Streams,
		RunE: func(c *cobra.Command, args []string) error {
			return r.tap(c, args[0])
		},
	}
	f := c.Flags()
	f.StringVar(&r.from, "from", "now", "begin at `now|oldest|OFFSET|TIME`; a TIME is as in RFC 3339, or a duration back from now, like 10m")
	f.StringArrayVar(&r.options.Keys, "key", nil, "print only events of this partition `key`; may be given several times")
	f.Uint64Var(&r.options.Limit, "limit", 0, "end after so many events, of all streams together (default: no limit)")
	f.BoolVar(&r.follow, "follow", true, "wait for new events at the end of the stream")
	r.dial.Flags(c, "gRPC", cli.DefaultIngestAddress)
	return c
}

type run struct {
	dial    cli.DialFlags
	from    string
	follow  bool
	options client.ReadOptions

	mu      sync.Mutex // held while a line is written
	gaps    int        // guarded by mu
	written uint64     // events; guarded by mu
}

// errLimit is returned by write after the last event that is wanted.
var errLimit = errors.New("the limit is reached")

func (r *run) tap(c *cobra.Command, stream string) error {
	if err := r.begin(time.Now()); err != nil {
		return &cli.ExitError{Code: cli.ExitUsage, Err: err}
	}
	o, err := r.dial.Options() // sets Address
	if err != nil {
		return err
	}
	agent, err := client.Dial(r.dial.Address, o)
	if err != nil {
		return err
	}
	defer agent.Close()
	ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if _, err := agent.Streams(ctx, stream); err != nil { // later outages of the agent are waited for
		return err
	}
	if strings.Contains(stream, "*") {
		err = r.printAll(ctx, c, agent, stream)
	} else {
		err = r.print(ctx, c, agent, stream, r.options)
	}
	if errors.Is(err, errLimit) {
		err = nil
	}
	if err == nil && r.gaps > 0 {
		err = fmt.Errorf("%d gaps: the events between are not printed", r.gaps)
	}
	return err
}

// begin sets the begin of the reading.
func (r *run) begin(now time.Time) error {
	p, err := cli.ParsePosition("from", r.from, now)
	r.options.Once = !r.follow
	r.options.FromOldest, r.options.FromOffset, r.options.FromTime = p.Oldest, p.Offset, p.Time
	return err
}

// print prints the events of one stream.
func (r *run) print(ctx context.Context, c *cobra.Command, agent *client.Client, stream string, o client.ReadOptions) error {
	for e, err := range agent.Read(ctx, stream, o) {
		if gone, ok := errors.AsType[*client.GoneError](err); ok {
			r.mu.Lock()
			r.gaps++
			fmt.Fprintf(c.ErrOrStderr(), "%s: %v\n", stream, gone)
			r.mu.Unlock()
			continue
		}
		if ctx.Err() != nil {
			return nil // Ctrl-C
		}
		if err == nil && e.Offset < r.options.FromOffset {
			continue // a stream of a pattern that had not reached it
		}
		if err == nil {
			err = r.write(c, stream, &e)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// printAll prints the events of all streams that match, also of those that begin later.
func (r *run) printAll(ctx context.Context, c *cobra.Command, agent *client.Client, pattern string) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var group sync.WaitGroup
	open := make(map[string]bool)
	first := true // no list was received yet
	for ctx.Err() == nil {
		streams, err := agent.Streams(ctx, pattern)
		if e, ok := errors.AsType[*client.Error](err); ok && e.Final() {
			cancel(err)
			break
		}
		for stream, next := range streams {
			o := r.options
			if o.FromOffset > next {
				o.FromOffset, o.Limit = next, 0 // print waits for the offset, and write ends at the limit
			}
			if !first && r.from == "now" {
				o.FromOldest = true // it began after the command
			}
			if !open[stream] {
				open[stream] = true
				group.Go(func() {
					if err := r.print(ctx, c, agent, stream, o); err != nil {
						cancel(err)
					}
				})
			}
		}
		if err == nil {
			first = false
		}
		if !r.follow && err == nil {
			break
		}
		select {
		case <-time.After(newStreams):
		case <-ctx.Done():
		}
	}
	group.Wait()
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}

// envelope is an event as destinations with envelope = true get it.
type envelope struct {
	ID         string            `json:"id"`
	Offset     uint64            `json:"offset"`
	Time       string            `json:"time"`
	Key        string            `json:"key"`
	Attributes map[string]string `json:"attributes,omitempty"`
	Data       json.RawMessage   `json:"data,omitempty"`
	Base64     []byte            `json:"data_base64,omitempty"`
}

func (r *run) write(c *cobra.Command, stream string, e *client.StoredEvent) error {
	v := envelope{
		ID: e.LogID + "/" + stream + "/" + strconv.FormatUint(e.Offset, 10), Offset: e.Offset, Key: e.Key, Attributes: e.Attributes,
		Time: e.Time.UTC().Format("2006-01-02T15:04:05.000000000Z"),
	}
	switch {
	case json.Valid(e.Data):
		v.Data = e.Data
	case utf8.Valid(e.Data):
		v.Data, _ = json.Marshal(string(e.Data)) // a string has no error
	default:
		v.Base64 = e.Data
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	limit := r.options.Limit
	if limit > 0 && r.written >= limit {
		return errLimit // another stream had the last one
	}
	r.written++
	out := json.NewEncoder(c.OutOrStdout())
	out.SetEscapeHTML(false)
	if err := out.Encode(v); err != nil || r.written != limit {
		return err
	}
	return errLimit
}
