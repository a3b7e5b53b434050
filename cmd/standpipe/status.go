package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/standpipe/standpipe/agent/admin"
	"github.com/standpipe/standpipe/cmd/standpipe/internal/cli"
)

const (
	statusTimeout  = 10 * time.Second
	maxStatusBytes = 64 << 20
)

func newStatusCommand() *cobra.Command {
	var dial cli.DialFlags
	var asJSON, cost bool
	c := &cobra.Command{
		Use:   "status",
		Short: "Show the state of a running agent",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, args []string) error {
			if cost {
				return showCost(c.Context(), c.OutOrStdout(), &dial, asJSON)
			}
			return showStatus(c.Context(), c.OutOrStdout(), &dial, asJSON)
		},
	}
	c.Flags().BoolVar(&cost, "cost", false, "show the cost of shipping so far")
	c.Flags().BoolVar(&asJSON, "json", false, "print the JSON of /v1/status")
	dial.Flags(c, "admin", cli.DefaultAdminAddress)
	return c
}

func showStatus(ctx context.Context, out io.Writer, dial *cli.DialFlags, asJSON bool) error {
	if !asJSON {
		status, err := getStatus(ctx, dial)
		if err != nil {
			return err
		}
		return writeStatus(out, status, time.Now())
	}
	body, err := fetchStatus(ctx, dial)
	if err != nil {
		return err
	}
	_, err = out.Write(body)
	return err
}

// showCost prints the bill of all destinations so far, at the agent's own prices.
func showCost(ctx context.Context, out io.Writer, dial *cli.DialFlags, asJSON bool) error {
	status, err := getStatus(ctx, dial)
	if err != nil {
		return err
	}
	b, err := billOf(status, nil, "")
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
	if err := json.Unmarshal(body, &status); err != nil {
		return status, fmt.Errorf("read the status of the agent at %s: %w", dial.Address, err)
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
