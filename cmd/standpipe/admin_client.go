package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
)

const maxFaultText = 4 << 10

// adminClient sends requests to an agent's admin listener.
type adminClient struct {
	address   string
	base      string // of URLs
	token     string // "": none
	transport *http.Transport
}

// admin returns a client of the named listener. It ignores proxies in the environment.
func (d *dialFlags) admin() (*adminClient, error) {
	o, err := d.options()
	if err != nil {
		return nil, err
	}
	network, target, err := parseAddress(d.address)
	if err != nil {
		return nil, &exitError{code: exitUsage, err: err}
	}
	a := &adminClient{address: d.address, base: "http://standpipe", token: o.Token}
	if o.TLS != nil {
		a.base = "https://standpipe"
	}
	a.transport = &http.Transport{TLSClientConfig: o.TLS, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, target)
	}}
	return a, nil
}

func (a *adminClient) close() { a.transport.CloseIdleConnections() }

// call sends a request with arg as JSON, if it is not nil, and returns the body of a 200 response, which the caller closes.
func (a *adminClient) call(ctx context.Context, method, path string, arg any) (io.ReadCloser, error) {
	request, err := a.request(ctx, method, path, arg)
	if err != nil {
		return nil, err
	}
	response, err := a.transport.RoundTrip(request)
	if err != nil {
		return nil, fmt.Errorf("no response from the agent at %s: %w", a.address, err)
	}
	if response.StatusCode == http.StatusOK {
		return response.Body, nil
	}
	defer response.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(response.Body, maxFaultText)) // the status is enough without it
	return nil, fmt.Errorf("the agent at %s answers %s: %s", a.address, response.Status, printable(strings.TrimSpace(string(text))))
}

func (a *adminClient) request(ctx context.Context, method, path string, arg any) (*http.Request, error) {
	var body io.Reader
	if arg != nil {
		text, err := json.Marshal(arg)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(text)
	}
	request, err := http.NewRequestWithContext(ctx, method, a.base+path, body)
	if err != nil {
		return nil, err
	}
	if arg != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if a.token != "" {
		request.Header.Set("Authorization", "Bearer "+a.token)
	}
	return request, nil
}
