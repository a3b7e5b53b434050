package agent

import (
	"context"
	"fmt"
	"reflect"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/standpipe/standpipe/agent/config"
)

// reloadTimeout is how long Reload waits for the routes that it ends and the routes that it starts.
const reloadTimeout = 5 * time.Second

// Reload applies conf while the agent runs: streams and their destinations, listeners, identities, max_age,
// log_level and shutdown_timeout; and reads certificates and tokens that have changed. What is unchanged goes on
// undisturbed. A destination that is gone is parked. An error means that nothing was changed. Reload waits for Run to begin.
//
// Reload builds everything new first; then comes the switch, which can't fail; the old parts end after it. Reload waits
// a few seconds for that, and not at all once the agent is to stop.
func (a *Agent) Reload(conf *config.Config) error {
	select {
	case <-a.running.c:
	case <-a.stopping.c:
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.stopping.isSet() {
		return fmt.Errorf("reload: %w", errStopping)
	}

	opened, err := a.bindNew(conf)
	if err != nil {
		return fmt.Errorf("reload: %w", err)
	}
	started, ending, err := a.streams.apply(conf, func() error { return a.register.Set(identities(conf)) })
	if err != nil {
		a.discard(opened)
		return fmt.Errorf("reload: %w", err)
	}
	a.log.SetPolicy(policies(conf))
	a.adminSecurity.refresh()
	a.logger.SetLevel(hclog.LevelFromString(conf.LogLevel))
	for _, setting := range needRestart(a.conf.Load(), conf) {
		a.logger.Warn("a changed setting takes effect at the next start", "setting", setting)
	}
	a.conf.Store(conf)
	closing := a.changeListeners(conf, opened)

	a.await(latches(started, ending, closing))
	a.logger.Info("configuration reloaded", "streams", len(conf.Streams), "listeners", len(conf.Listeners))
	return nil
}

// latches returns the latches that are all set once the started routes have been built or are blocked, and the ending
// routes and the closing listeners have ended.
func latches(started, ending []*route, closing []*listener) (all []*latch) {
	for _, r := range ending {
		all = append(all, r.gone)
	}
	for _, r := range started {
		all = append(all, r.attempted)
	}
	for _, d := range closing {
		all = append(all, d.gone)
	}
	return all
}

// await waits until all are set, for as long as a reload may take.
func (a *Agent) await(all []*latch) {
	patience := time.NewTimer(reloadTimeout)
	defer patience.Stop()
	for _, l := range all {
		select {
		case <-l.c:
		case <-a.stopping.c:
			return
		case <-patience.C:
			a.logger.Warn("reload goes on in the background: what it replaces or removes has not ended yet")
			return
		}
	}
}

// bindNew binds the listeners that conf has and the agent has not, all or none. One whose address
// is in use by a listener of ours with other settings can't be bound beside it.
func (a *Agent) bindNew(conf *config.Config) (opened []*listener, err error) {
	for _, l := range conf.Listeners {
		if _, open := a.listeners[keyOf(l)]; open {
			continue
		}
		d, err := a.bind(l)
		if err != nil {
			a.discard(opened)
			return nil, err
		}
		opened = append(opened, d)
	}
	return opened, nil
}

// discard closes listeners that were never served.
func (a *Agent) discard(opened []*listener) {
	for _, d := range opened {
		a.stopListener(context.Background(), d)
	}
}

// changeListeners serves the new listeners and begins to stop those that conf no longer has.
func (a *Agent) changeListeners(conf *config.Config, opened []*listener) (closing []*listener) {
	wanted := make(map[listenerKey]bool)
	for _, l := range conf.Listeners {
		wanted[keyOf(l)] = true
	}
	for key, d := range a.listeners {
		if wanted[key] {
			d.refresh()
			continue
		}
		closing = append(closing, d)
		delete(a.listeners, key)
		a.leave(d, conf.ShutdownTimeout)
	}
	for _, d := range opened {
		a.listeners[d.key] = d
		a.serve(d)
	}
	a.limitConnections(conf)
	return closing
}

// needRestart names the settings that differ and that a running agent can't change.
func needRestart(from, to *config.Config) (settings []string) {
	note := func(name string, differs bool) {
		if differs {
			settings = append(settings, name)
		}
	}
	note("node_name", from.NodeName != to.NodeName)
	note("data_dir", from.DataDir != to.DataDir)
	note("log_format", from.LogFormat != to.LogFormat)
	note("admin", adminDiffers(from.Admin, to.Admin))
	before, after := from.WAL, to.WAL
	before.MaxAge = after.MaxAge
	note("wal", before != after)
	return settings
}

func adminDiffers(from, to config.Admin) bool {
	from.Pos, to.Pos = config.Pos{}, config.Pos{}
	return !reflect.DeepEqual(from, to)
}
