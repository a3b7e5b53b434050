package main

import (
	"context"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/standpipe/standpipe/cmd/standpipe/internal/cli"
)

// healthTimeout is shorter than the usual timeout of a probe that runs a program.
const healthTimeout = 3 * time.Second

func newHealthcheckCommand() *cobra.Command {
	var dial cli.DialFlags
	var live bool
	c := &cobra.Command{
		Use:   "healthcheck",
		Short: "Exit with 0 if a running agent accepts events",
		Long: `Exit with 0 if /readyz of a running agent is 200, for probes that run a program; with --live,
if /livez is. Otherwise the exit code is 1, and the reason is printed.`,
		Args: cobra.NoArgs,
		RunE: dial.WithAdmin(func(c *cobra.Command, client *cli.AdminClient, _ []string) error {
			ctx, cancel := context.WithTimeout(c.Context(), healthTimeout)
			defer cancel()
			path := "/readyz"
			if live {
				path = "/livez"
			}
			body, err := client.Call(ctx, http.MethodGet, path, nil)
			if err != nil {
				return err
			}
			return body.Close()
		}),
	}
	c.Flags().BoolVar(&live, "live", false, "check whether the agent makes progress instead")
	dial.Flags(c, "admin", cli.DefaultAdminAddress)
	return c
}
