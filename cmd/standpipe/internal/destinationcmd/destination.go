package destinationcmd

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/standpipe/standpipe/agent/admin"
	"github.com/standpipe/standpipe/cmd/standpipe/internal/cli"
)

// timeout is the longest time of one request. Forget deletes dead letters, which may be many.
const timeout = time.Minute

// New returns the command.
func New() *cobra.Command {
	c := &cobra.Command{
		Use:   "destination",
		Short: "List the destinations of a running agent, pause, resume, retry or forget one",
		Long: "A destination is paused until it is resumed, over restarts too; its events are kept. retry ends the wait\n" +
			"after a failure, also of a blocked destination. forget drops the events and the dead letters of a parked\n" +
			"destination, which is one that the configuration no longer has. These commands need a running agent.",
	}
	c.AddCommand(newList(), newAction(admin.Pause, "Send nothing to a destination until it is resumed; its events are kept"),
		newAction(admin.Resume, "End the pause of a destination"),
		newAction(admin.Retry, "Make a destination try now instead of after its backoff"), newForget())
	return c
}

func newList() *cobra.Command {
	var dial cli.DialFlags
	var asJSON bool
	c := &cobra.Command{
		Use:   "ls [STREAM]",
		Short: "List the destinations, of all streams or of one",
		Args:  cobra.MaximumNArgs(1),

		ValidArgsFunction: cli.Streams,
		RunE: dial.WithAdmin(func(c *cobra.Command, client *cli.AdminClient, args []string) error {
			status, err := status(c.Context(), client)
			if err != nil {
				return err
			}
			if len(args) > 0 {
				status.Streams = ofName(status.Streams, args[0])
			}
			if asJSON {
				return writeListJSON(c.OutOrStdout(), status.Streams)
			}
			return writeList(c.OutOrStdout(), status.Streams)
		}),
	}
	dial.Flags(c, "admin", cli.DefaultAdminAddress)
	c.Flags().BoolVar(&asJSON, "json", false, "print a JSON array of objects, as in /v1/status, with the stream's name")
	return c
}

func newAction(action admin.Action, short string) *cobra.Command {
	var dial cli.DialFlags
	c := &cobra.Command{
		Use:   string(action) + " STREAM NAME",
		Short: short,
		Args:  cobra.ExactArgs(2),

		ValidArgsFunction: cli.StreamThenDestination,
		RunE: dial.WithAdmin(func(c *cobra.Command, client *cli.AdminClient, args []string) error {
			if _, err := act(c.Context(), client, args[0], args[1], action); err != nil {
				return err
			}
			done := map[admin.Action]string{admin.Pause: "paused", admin.Resume: "resumed", admin.Retry: "tries again"}[action]
			_, err := fmt.Fprintf(c.OutOrStdout(), "%s to %s: %s\n", cli.Printable(args[0]), cli.Printable(args[1]), done)
			return err
		}),
	}
	dial.Flags(c, "admin", cli.DefaultAdminAddress)
	return c
}

func newForget() *cobra.Command {
	var dial cli.DialFlags
	var yes bool
	c := &cobra.Command{
		Use:   "forget STREAM NAME",
		Short: "Drop the events and the dead letters of a parked destination",
		Long: "Drop the events and the dead letters of a parked destination. The events count as dropped with the reason\n" +
			"forgotten, and their disk space is free again. It waits for a confirmation, unless --yes is given.",
		Args: cobra.ExactArgs(2),

		ValidArgsFunction: cli.StreamThenDestination,
		RunE: dial.WithAdmin(func(c *cobra.Command, client *cli.AdminClient, args []string) error {
			if !yes {
				if err := confirm(c, client, args[0], args[1]); err != nil {
					return err
				}
			}
			out, err := act(c.Context(), client, args[0], args[1], admin.Forget)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "%s to %s: forgotten; dropped %s (%s) and %s\n", cli.Printable(args[0]), cli.Printable(args[1]),
				cli.Number(out.Dropped.Events, "event"), humanize.IBytes(out.Dropped.Bytes), cli.Number(out.DeadLetters, "dead letter"))
			return err
		}),
	}
	dial.Flags(c, "admin", cli.DefaultAdminAddress)
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return c
}

// confirm waits for an answer.
func confirm(c *cobra.Command, client *cli.AdminClient, stream, name string) error {
	status, err := status(c.Context(), client)
	if err != nil {
		return err
	}
	held := ""
	for _, s := range ofName(status.Streams, stream) {
		for _, d := range s.Destinations {
			if d.Name == name {
				held = fmt.Sprintf(" with %s (%s)", cli.Number(d.Pending.Events, "pending event"), humanize.IBytes(d.Pending.Bytes))
			}
		}
	}
	return cli.Confirm(c, fmt.Sprintf("Forget %s to %s%s? The events cannot be delivered after that.", cli.Printable(stream), cli.Printable(name), held))
}

func status(ctx context.Context, client *cli.AdminClient) (s admin.Status, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return s, client.CallJSON(ctx, http.MethodGet, "/v1/status", nil, &s)
}

func act(ctx context.Context, client *cli.AdminClient, stream, name string, action admin.Action) (out admin.ActionOutcome, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	path := "/v1/destinations/" + url.PathEscape(stream) + "/" + url.PathEscape(name) + "/" + string(action)
	return out, client.CallJSON(ctx, http.MethodPost, path, nil, &out)
}

func ofName(streams []admin.StreamStatus, name string) (found []admin.StreamStatus) {
	for _, s := range streams {
		if s.Name == name {
			found = append(found, s)
		}
	}
	return found
}
