package topcmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/standpipe/standpipe/agent/admin"
	"github.com/standpipe/standpipe/cmd/standpipe/internal/cli"
)

const (
	interval = 2 * time.Second // between two updates
	timeout  = 10 * time.Second
)

// New returns the command.
func New() *cobra.Command {
	var dial cli.DialFlags
	c := &cobra.Command{
		Use:   "top",
		Short: "Watch a running agent on the whole terminal",
		Long: `Watch a running agent on the whole terminal: rates in and out, the backlog and the time until it
fills the log, for each destination or each stream. The keys are at the bottom.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, args []string) error { return run(c.Context(), c.OutOrStdout(), &dial) },
	}
	dial.Flags(c, "admin", cli.DefaultAdminAddress)
	return c
}

func run(ctx context.Context, out io.Writer, dial *cli.DialFlags) error {
	client, err := dial.Admin()
	if err != nil {
		return err
	}
	defer client.Close()
	if !cli.ScreenOf(out).Terminal {
		return errors.New("top draws on a terminal, and standard output is none; see standpipe status")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	v := newView()
	// The goroutine is not waited for: an update that it queues after Run has returned is never taken. It ends with the program.
	go v.follow(ctx, func(ctx context.Context) (s admin.Status, err error) {
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		return s, client.CallJSON(ctx, http.MethodGet, "/v1/status", nil, &s)
	})
	if err := v.app.Run(); err != nil {
		return fmt.Errorf("open terminal: %w", err)
	}
	return nil
}

// follow shows the agent's status again and again.
func (v *view) follow(ctx context.Context, fetch func(context.Context) (admin.Status, error)) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for ctx.Err() == nil {
		s, err := fetch(ctx)
		v.app.QueueUpdateDraw(func() { v.update(s, err, time.Now()) })
		select {
		case <-ticker.C:
		case <-ctx.Done():
		}
	}
}
