package main

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/standpipe/standpipe/agent/admin"
	"github.com/standpipe/standpipe/cmd/standpipe/internal/cli"
)

const linkTimeout = 10 * time.Second

func newLinkCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "link",
		Short: "Set the network link of a running agent up or down, as a hook of the network does",
		Long: `Set the network link of a running agent up or down, as a hook of a network manager or of a modem
does. On Linux the agent notices by itself when an address of the host comes or goes.`,
	}
	c.AddCommand(newLinkChange("up", "Send now, on new connections", `Make all destinations that wait after a failure try at once, on new connections. It ends
"standpipe link down".`), newLinkChange("down", "Send nothing until the link is up", `End all requests under way, and send nothing until "standpipe link up", or until an address
of the host comes. Events are accepted and kept.`))
	return c
}

func newLinkChange(to, short, long string) *cobra.Command {
	var dial cli.DialFlags
	c := &cobra.Command{
		Use:   to,
		Short: short,
		Long:  long,
		Args:  cobra.NoArgs,
		RunE: dial.WithAdmin(func(c *cobra.Command, client *cli.AdminClient, _ []string) error {
			ctx, cancel := context.WithTimeout(c.Context(), linkTimeout)
			defer cancel()
			var state admin.LinkState
			if err := client.CallJSON(ctx, http.MethodPost, "/v1/link/"+to, nil, &state); err != nil {
				return err
			}
			_, err := fmt.Fprintf(c.OutOrStdout(), "link: %s\n", to)
			return err
		}),
	}
	dial.Flags(c, "admin", cli.DefaultAdminAddress)
	return c
}
