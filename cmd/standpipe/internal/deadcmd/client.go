package deadcmd

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/standpipe/standpipe/agent/admin"
	"github.com/standpipe/standpipe/cmd/standpipe/internal/cli"
)

// timeout is the longest time of one request. The agent spends at most 20 s on one.
const timeout = time.Minute

// client sends requests for dead letters to an agent's admin listener.
type client struct{ *cli.AdminClient }

// each calls f with every letter of the query, page by page; limit 0: all.
func (d *client) each(ctx context.Context, stream, destination string, limit int, f func(admin.DeadStat) error) error {
	values := url.Values{"stream": {stream}, "destination": {destination}}
	for left := limit; ; {
		part := admin.MaxDeadList
		if limit > 0 {
			part = min(part, left)
		}
		values.Set("limit", strconv.Itoa(part))
		var list admin.DeadList
		if err := d.call(ctx, http.MethodGet, "/v1/dead?"+values.Encode(), nil, &list); err != nil {
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
func (d *client) show(ctx context.Context, id uint64) (letter admin.DeadLetter, err error) {
	return letter, d.call(ctx, http.MethodGet, "/v1/dead/"+strconv.FormatUint(id, 10), nil, &letter)
}

// change applies action to the letters of a choice, in as many requests as needed, and calls f with the outcome of each.
func (d *client) change(ctx context.Context, action string, c admin.DeadChoice, f func(admin.DeadOutcome)) error {
	for ids := c.IDs; ; {
		n := min(len(ids), admin.MaxDeadIDs)
		c.IDs, ids = ids[:n], ids[n:]
		var out admin.DeadOutcome
		if err := d.call(ctx, http.MethodPost, "/v1/dead/"+action, c, &out); err != nil {
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

// call is CallJSON with a timeout.
func (d *client) call(ctx context.Context, method, path string, arg, result any) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return d.CallJSON(ctx, method, path, arg, result)
}
