package main

import (
	"context"
	"os"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/hashicorp/go-hclog"
)

// notifier reports the state of the process to systemd, for units of Type=notify and Type=notify-reload. Without
// NOTIFY_SOCKET in the environment its methods do nothing. See sd_notify(3).
type notifier struct {
	logger hclog.Logger
}

// The states of the protocol. READY=1 is sent after the start, and after each reload.
func (n notifier) ready() { n.send(daemon.SdNotifyReady) }

// reloading must be followed by ready. systemd compares the time with the time of its own signal.
func (n notifier) reloading() {
	n.send(daemon.SdNotifyReloading + "\n" + daemon.SdNotifyMonotonicUsec())
}

func (n notifier) stopping() { n.send(daemon.SdNotifyStopping) }

func (n notifier) send(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		n.logger.Warn("systemd not notified", "socket", os.Getenv("NOTIFY_SOCKET"), "state", state, "error", err)
	}
}

// watch pets the watchdog of a unit with WatchdogSec while live returns nil, until ctx ends. It sends a keep-alive twice
// in the unit's interval. An agent that is not live sends none, and systemd restarts it.
func (n notifier) watch(ctx context.Context, live func() error) {
	interval, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		n.logger.Warn("systemd's watchdog setting is not valid", "error", err)
	}
	if err != nil || interval <= 0 {
		return
	}
	tick := time.NewTicker(interval / 2)
	defer tick.Stop()
	for {
		if err := live(); err == nil {
			n.send(daemon.SdNotifyWatchdog)
		} else {
			n.logger.Error("not live: systemd's watchdog gets no keep-alive", "error", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
