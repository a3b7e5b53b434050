package agent

import (
	"fmt"
	"reflect"
	"time"

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

	pending, err := a.apply(conf)
	if err != nil {
		return fmt.Errorf("reload: %w", err)
	}
	a.await(pending)
	a.logger.Info("configuration reloaded", "streams", len(conf.Streams), "listeners", len(conf.Listeners))
	return nil
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
