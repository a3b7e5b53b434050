package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/standpipe/standpipe/agent/admin"
)

const (
	defaultAdminAddress = "127.0.0.1:7712"
	statusTimeout       = 10 * time.Second
	maxStatusBytes      = 64 << 20
)

func newStatusCommand() *cobra.Command {
	var address string
	var asJSON, cost bool
	c := &cobra.Command{
		Use:   "status",
		Short: "Show the state of a running agent",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, args []string) error {
			if cost {
				return showCost(c.Context(), c.OutOrStdout(), address, asJSON)
			}
			return showStatus(c.Context(), c.OutOrStdout(), address, asJSON)
		},
	}
	c.Flags().BoolVar(&cost, "cost", false, "show what shipping has cost so far")
	c.Flags().BoolVar(&asJSON, "json", false, "print what /v1/status says, as it is")
	c.Flags().StringVar(&address, "address", defaultAdminAddress, "the admin listener: `host:port` or unix:///path")
	return c
}

func showStatus(ctx context.Context, out io.Writer, address string, asJSON bool) error {
	network, target, err := parseAddress(address)
	if err != nil {
		return &exitError{code: exitUsage, err: err}
	}
	body, err := fetchStatus(ctx, network, target)
	if err != nil {
		return fmt.Errorf("ask the agent at %s: %w", address, err)
	}
	if asJSON {
		_, err := out.Write(body)
		return err
	}
	var status admin.Status
	if err := json.Unmarshal(body, &status); err != nil {
		return fmt.Errorf("read the status of the agent at %s: %w", address, err)
	}
	return writeStatus(out, status, time.Now())
}

// showCost shows what destinations were billed for, at the agent's own prices.
func showCost(ctx context.Context, out io.Writer, address string, asJSON bool) error {
	status, err := askStatus(ctx, address)
	if err != nil {
		return err
	}
	b, err := billOf(status, nil, "")
	if err != nil {
		return err
	}
	return b.write(out, asJSON)
}

// parseAddress reads host:port or unix:///path into what net.Dial takes.
func parseAddress(address string) (network, target string, err error) {
	if path, ok := strings.CutPrefix(address, "unix://"); ok {
		if !strings.HasPrefix(path, "/") {
			return "", "", fmt.Errorf("address %q: want unix:///path with an absolute path", address)
		}
		return "unix", path, nil
	}
	if _, port, err := net.SplitHostPort(address); err != nil || port == "" {
		return "", "", fmt.Errorf("address %q: want host:port or unix:///path", address)
	}
	return "tcp", address, nil
}

func fetchStatus(ctx context.Context, network, target string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	// Always the listener that was named, whatever proxy the environment speaks of.
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, target)
	}}
	defer transport.CloseIdleConnections()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://standpipe/v1/status", nil)
	if err != nil {
		return nil, err
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return nil, fmt.Errorf("no answer: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("answered %s to /v1/status; is it standpipe's admin listener?", response.Status)
	}
	return readStatus(response.Body)
}

func readStatus(r io.Reader) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(r, maxStatusBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	if len(body) > maxStatusBytes {
		return nil, fmt.Errorf("the answer is over %d bytes", maxStatusBytes)
	}
	return body, nil
}
