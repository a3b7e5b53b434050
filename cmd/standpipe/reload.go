package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/standpipe/standpipe/agent/admin"
	"github.com/standpipe/standpipe/cmd/standpipe/internal/cli"
)

// reloadTimeout is longer than an agent waits for the parts that a reload replaces.
const reloadTimeout = 30 * time.Second

func newReloadCommand() *cobra.Command {
	var dial cli.DialFlags
	c := &cobra.Command{
		Use:   "reload",
		Short: "Make a running agent apply its configuration file again",
		Long: `Make a running agent apply its configuration file again, as SIGHUP does, and wait for the
result. The exit code is 1 if the file has faults: then nothing has changed.`,
		Args: cobra.NoArgs,
		RunE: dial.WithAdmin(func(c *cobra.Command, client *cli.AdminClient, _ []string) error {
			ctx, cancel := context.WithTimeout(c.Context(), reloadTimeout)
			defer cancel()
			var result admin.ReloadStatus
			err := client.CallJSON(ctx, http.MethodPost, "/v1/reload", nil, &result)
			if rejected := (*cli.ResponseError)(nil); errors.As(err, &rejected) && rejected.Code == http.StatusUnprocessableEntity {
				fmt.Fprintln(c.ErrOrStderr(), rejected.Text)
				return fmt.Errorf("the agent at %s has not reloaded: the previous configuration stays in force", rejected.Address)
			}
			if err != nil {
				return err
			}
			return writeReload(c.OutOrStdout(), result.Changes)
		}),
	}
	dial.Flags(c, "admin", cli.DefaultAdminAddress)
	return c
}

// writeReload prints the changes of a reload.
func writeReload(out io.Writer, c admin.ReloadChanges) error {
	var text strings.Builder
	fmt.Fprintf(&text, "reloaded: %s, %s\n", cli.Number(c.Streams, "stream"), cli.Number(c.Listeners, "listener"))
	for _, list := range []struct {
		title string
		names []string
	}{{"started", c.Started}, {"parked, and keeps its events", c.Parked}, {"takes effect at the next start", c.NeedRestart}} {
		for _, name := range list.names {
			fmt.Fprintf(&text, "%s: %s\n", list.title, cli.Printable(name))
		}
	}
	_, err := io.WriteString(out, text.String())
	return err
}
