package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/standpipe/standpipe/agent/admin"
)

const (
	deadTimeout = time.Minute // of one request; the agent works for 20 s on one at most
	// maxDeadAnswer is an event of 64 MiB, more than the log takes, all of bytes that JSON escapes.
	maxDeadAnswer = 6 * 64 << 20
)

// deadClient asks an agent's admin listener about dead letters.
type deadClient struct{ *adminClient }

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
	body, err := d.adminClient.ask(ctx, method, path, what)
	if err != nil {
		return err
	}
	defer body.Close()
	if err := json.NewDecoder(io.LimitReader(body, maxDeadAnswer)).Decode(answer); err != nil {
		return fmt.Errorf("read the answer of the agent at %s: %w", d.address, err)
	}
	return nil
}
