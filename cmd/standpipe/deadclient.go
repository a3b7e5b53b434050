package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/standpipe/standpipe/agent/admin"
)

const (
	deadTimeout = time.Minute // of one request; the agent works for 20 s on one at most
	// maxDeadAnswer is an event of 64 MiB, more than the log takes, all of bytes that JSON escapes.
	maxDeadAnswer = 6 * 64 << 20
	maxFaultText  = 4 << 10
)

// deadClient asks an agent's admin listener about dead letters.
type deadClient struct {
	address   string
	transport *http.Transport
}

func dialDead(address string) (*deadClient, error) {
	network, target, err := parseAddress(address)
	if err != nil {
		return nil, &exitError{code: exitUsage, err: err}
	}
	return &deadClient{address, &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, target)
	}}}, nil
}

func (d *deadClient) close() { d.transport.CloseIdleConnections() }

// each calls f with every letter of the query, asking for a part at a time; limit 0 means all.
func (d *deadClient) each(ctx context.Context, stream, destination string, limit int, f func(admin.DeadStat) error) error {
	values := url.Values{"stream": {stream}, "destination": {destination}}
	for left := limit; ; {
		part := admin.MaxDeadList
		if limit > 0 {
			part = min(part, left)
		}
		values.Set("limit", strconv.Itoa(part))
		var list admin.DeadList
		if err := d.ask(ctx, http.MethodGet, "/v1/dead?"+values.Encode(), nil, &list); err != nil {
			return err
		}
		for _, letter := range list.Letters {
			if err := f(letter); err != nil {
				return err
			}
		}
		left -= len(list.Letters)
		if list.Next == 0 || limit > 0 && left <= 0 {
			return nil
		}
		values.Set("after", strconv.FormatUint(list.Next, 10))
	}
}

// show returns one letter.
func (d *deadClient) show(ctx context.Context, id uint64) (letter admin.DeadLetter, err error) {
	return letter, d.ask(ctx, http.MethodGet, "/v1/dead/"+strconv.FormatUint(id, 10), nil, &letter)
}

// change has something done to the letters of a choice, in as many requests as that needs, and calls
// f with the outcome of each.
func (d *deadClient) change(ctx context.Context, what string, c admin.DeadChoice, f func(admin.DeadOutcome)) error {
	for ids := c.IDs; ; {
		n := min(len(ids), admin.MaxDeadIDs)
		c.IDs, ids = ids[:n], ids[n:]
		var out admin.DeadOutcome
		if err := d.ask(ctx, http.MethodPost, "/v1/dead/"+what, c, &out); err != nil {
			return err
		}
		f(out)
		if out.Stopped != "" || out.Next == 0 && len(ids) == 0 {
			return nil
		}
		if out.Next > 0 {
			c.After, c.Until = out.Next, out.Until
		}
	}
}

// ask sends what, unless it is nil, and reads the answer into answer.
func (d *deadClient) ask(ctx context.Context, method, path string, what, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, deadTimeout)
	defer cancel()
	request, err := newDeadRequest(ctx, method, path, what)
	if err != nil {
		return err
	}
	response, err := d.transport.RoundTrip(request)
	if err != nil {
		return fmt.Errorf("ask the agent at %s: no answer: %w", d.address, err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(response.Body, maxFaultText)) // the status says enough without it
		return fmt.Errorf("the agent at %s answers %s: %s", d.address, response.Status, printable(strings.TrimSpace(string(text))))
	}
	if err := json.NewDecoder(io.LimitReader(response.Body, maxDeadAnswer)).Decode(answer); err != nil {
		return fmt.Errorf("read the answer of the agent at %s: %w", d.address, err)
	}
	return nil
}

func newDeadRequest(ctx context.Context, method, path string, what any) (*http.Request, error) {
	var body io.Reader
	if what != nil {
		text, err := json.Marshal(what)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(text)
	}
	request, err := http.NewRequestWithContext(ctx, method, "http://standpipe"+path, body)
	if err == nil && what != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	return request, err
}
