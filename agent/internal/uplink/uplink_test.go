package uplink_test

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/standpipe/standpipe/agent/internal/linkwatch"
	"github.com/standpipe/standpipe/agent/internal/uplink"
	"github.com/standpipe/standpipe/shipper"
)

// A link that was set down has one line when that begins and one when it ends, however often it is repeated. An address that
// comes ends it, and one that goes does not.
func TestUplink_DownUntilAnAddressComes(t *testing.T) {
	var log bytes.Buffer
	changes := 0
	u := uplink.New(shipper.NewLink(0), hclog.New(&hclog.LoggerOptions{Output: &log}), func() { changes++ })
	own := []netip.Addr{netip.MustParseAddr("10.0.0.1")}
	if !u.DownSince().IsZero() {
		t.Error("a new uplink is down")
	}
	u.Addresses(linkwatch.Change{Come: own})
	u.SetLink(true)
	before := time.Now()
	u.SetLink(false)
	u.SetLink(false)
	u.Addresses(linkwatch.Change{Gone: own})
	if since := u.DownSince(); since.Before(before) {
		t.Errorf("down: got %s, want %s or later", since, before)
	}
	u.Addresses(linkwatch.Change{Come: own})
	if since := u.DownSince(); !since.IsZero() {
		t.Errorf("an address has come: got down since %s, want up", since)
	}
	u.SetLink(false)
	u.Addresses(linkwatch.Change{Route: true})
	if since := u.DownSince(); !since.IsZero() {
		t.Errorf("a route has come: got down since %s, want up", since)
	}
	if lines := strings.Count(log.String(), "\n"); lines != 4 || !strings.Contains(log.String(), "link set down") || !strings.Contains(log.String(), "an address of this host has come") {
		t.Errorf("got the log lines %q, want two down and two up", log.String())
	}
	if changes != 7 {
		t.Errorf("got %d calls of changed, want 7", changes)
	}
}
