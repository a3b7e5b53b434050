// Package uplink acts upon news of the host's link to the destinations: an operator or a hook sets it up or down, and addresses
// and default routes of the host come and go. Requests on connections that have gone end, and destinations that wait after a failure try at once
// when the link is back.
package uplink

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/standpipe/standpipe/agent/internal/linkwatch"
	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/sink"
)

// errDown holds back all destinations whose requests use the link.
var errDown = &shipper.Error{
	Class: shipper.Transient, Code: "link down", Record: -1, Unreached: true,
	Text: "the link was set down; `standpipe link up` ends that",
}

// Uplink is the link of the host.
type Uplink struct {
	link    *shipper.Link
	logger  hclog.Logger
	changed func() // called after each change of the state

	mu   sync.Mutex // held during changes
	down time.Time  // when it was set down; zero: it is up. Guarded by mu
}

// New returns the uplink of the destinations that share link. changed is called after the link was set up or down.
func New(link *shipper.Link, logger hclog.Logger, changed func()) *Uplink {
	return &Uplink{link: link, logger: logger, changed: changed}
}

// SetLink sets the link up or down. It implements admin.Link.
func (u *Uplink) SetLink(up bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if up {
		u.upLocked("link set up")
	} else {
		if u.down.IsZero() {
			u.logger.Warn("link set down; nothing is sent until it is set up, or an address of this host comes")
			u.down = time.Now()
		}
		u.link.SetDown(errDown)
	}
	sink.Abandon(func(netip.Addr) bool { return true })
	u.changed()
}

func (u *Uplink) upLocked(line string) {
	if !u.down.IsZero() {
		u.logger.Info(line, "after", time.Since(u.down).Round(time.Millisecond))
		u.down = time.Time{}
	}
	u.link.SetUp()
}

// DownSince returns when the link was set down; zero: it is up.
func (u *Uplink) DownSince() time.Time {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.down
}

// Run watches the addresses and default routes of this host until ctx ends.
func (u *Uplink) Run(ctx context.Context) {
	if err := linkwatch.Run(ctx, u.Addresses); err != nil {
		u.logger.Warn("network addresses not watched; use `standpipe link up` and `down`", "error", err)
	}
}

// Addresses handles a change of the host's addresses. Connections from addresses that have gone, or were gone, are reset. If an
// address or a default route has come, the link is up.
func (u *Uplink) Addresses(c linkwatch.Change) {
	u.logger.Debug("network addresses changed", "gone", c.Gone, "come", c.Come, "route", c.Route)
	u.mu.Lock()
	defer u.mu.Unlock()
	sink.Abandon(func(local netip.Addr) bool { return slices.Contains(c.Gone, local) || slices.Contains(c.Come, local) })
	switch {
	case len(c.Come) > 0:
		u.upLocked("link up: an address of this host has come")
	case c.Route:
		u.upLocked("link up: a default route has come")
	default:
		return
	}
	u.changed()
}
