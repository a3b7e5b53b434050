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
)

const (
	statusTimeout  = 10 * time.Second
	maxStatusBytes = 64 << 20
)

func newStatusCommand() *cobra.Command {
	var door dialing
	var asJSON, cost bool
	c := &cobra.Command{
		Use:   "status",
		Short: "Show the state of a running agent",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, args []string) error {
			if cost {
				return showCost(c.Context(), c.OutOrStdout(), &door, asJSON)
			}
			return showStatus(c.Context(), c.OutOrStdout(), &door, asJSON)
		},
	}
	c.Flags().BoolVar(&cost, "cost", false, "show what shipping has cost so far")
	c.Flags().BoolVar(&asJSON, "json", false, "print what /v1/status says, as it is")
	door.flags(c, "admin", defaultAdminAddress)
	return c
}

func showStatus(ctx context.Context, out io.Writer, door *dialing, asJSON bool) error {
	if !asJSON {
		status, err := askStatus(ctx, door)
		if err != nil {
			return err
		}
		return writeStatus(out, status, time.Now())
	}
	body, err := fetchStatus(ctx, door)
	if err != nil {
		return err
	}
	_, err = out.Write(body)
	return err
}

// showCost shows what destinations were billed for, at the agent's own prices.
func showCost(ctx context.Context, out io.Writer, door *dialing, asJSON bool) error {
	status, err := askStatus(ctx, door)
	if err != nil {
		return err
	}
	b, err := billOf(status, nil, "")
	if err != nil {
		return err
	}
	return b.write(out, asJSON)
}

func askStatus(ctx context.Context, door *dialing) (status admin.Status, err error) {
	body, err := fetchStatus(ctx, door)
	if err != nil {
		return status, err
	}
	if err := json.Unmarshal(body, &status); err != nil {
		return status, fmt.Errorf("read the status of the agent at %s: %w", door.address, err)
	}
	return status, nil
}

// fetchStatus returns what /v1/status says, as it is.
func fetchStatus(ctx context.Context, door *dialing) ([]byte, error) {
	client, err := door.admin()
	if err != nil {
		return nil, err
	}
	defer client.close()
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	answer, err := client.ask(ctx, http.MethodGet, "/v1/status", nil)
	if err != nil {
		return nil, err
	}
	defer answer.Close()
	body, err := io.ReadAll(io.LimitReader(answer, maxStatusBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read the answer of the agent at %s: %w", door.address, err)
	}
	if len(body) > maxStatusBytes {
		return nil, fmt.Errorf("the answer of the agent at %s is over %d bytes", door.address, maxStatusBytes)
	}
	return body, nil
}
