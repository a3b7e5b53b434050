package agent

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/standpipe/standpipe/agent/admin"
	"github.com/standpipe/standpipe/agent/config"
	"github.com/standpipe/standpipe/wal"
)

// reloadTimeout bounds the wait of Reload for the routes that it starts and for the parts that it ends.
const reloadTimeout = 5 * time.Second

// Reload applies conf to the running agent: streams and their destinations, listeners, identities, policies, the limits of the
// log, log_level and shutdown_timeout. It reads changed certificates and tokens. Unchanged parts keep running, and removed destinations are
// parked. After an error nothing has changed. Reload waits for Run to begin.
//
// Replaced and removed parts end in the background; Reload waits up to reloadTimeout for them, or until the agent stops.
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

	changed, pending, err := a.apply(conf)
	a.monitor.Reloaded(changed, err)
	if err != nil {
		return fmt.Errorf("reload: %w", err)
	}
	a.await(pending)
	a.logger.Info("configuration reloaded", "streams", changed.Streams, "listeners", changed.Listeners,
		"started", len(changed.Started), "parked", len(changed.Parked))
	a.logWarnings(conf)
	for _, parked := range changed.Parked {
		a.logger.Info("destination parked", "destination", parked) // one with events is a problem, which is a warning
	}
	a.monitor.LookSoon()
	return nil
}

// ReloadFailed notes for operators that a reload failed before it reached the agent, such as for a fault in the file.
func (a *Agent) ReloadFailed(err error) { a.monitor.Reloaded(admin.ReloadChanges{}, err) }

// OnReload registers the function that loads the configuration file and calls Reload or ReloadFailed, for
// POST /v1/reload. It is called before Run.
func (a *Agent) OnReload(f func() error) { a.onReload = f }

// reloadRequest reloads for a caller of the admin listener. The error of a file with faults has their source lines.
func (a *Agent) reloadRequest() error {
	if a.onReload == nil {
		return errors.New("reload: the agent runs without a configuration file")
	}
	err := a.onReload()
	if faults := (*config.FaultsError)(nil); errors.As(err, &faults) {
		var text strings.Builder
		if config.WriteFaults(&text, faults.Faults) == nil {
			return errors.New(strings.TrimSuffix(text.String(), "\n"))
		}
	}
	return err
}

// changesOf returns the changes of a reload to conf that started and ended these routes.
func changesOf(conf *config.Config, started, ending []*route, needRestart []string) admin.ReloadChanges {
	c := admin.ReloadChanges{Streams: len(conf.Streams), Listeners: len(conf.Listeners), NeedRestart: needRestart}
	again := make(map[cursorKey]bool)
	for _, r := range started {
		again[r.key()] = true
		c.Started = append(c.Started, r.stream+"/"+r.conf.Name)
	}
	for _, r := range ending {
		if !again[r.key()] {
			c.Parked = append(c.Parked, r.stream+"/"+r.conf.Name+" ("+heldBy(r.cursor.Stat(), time.Now())+")")
		}
	}
	slices.Sort(c.Started)
	slices.Sort(c.Parked)
	return c
}

// heldBy returns the number, bytes and age of a cursor's pending events.
func heldBy(st wal.CursorStat, now time.Time) string {
	if st.Pending.Events == 0 {
		return "0 events"
	}
	age := ""
	if !st.OldestPending.IsZero() {
		age = ", the oldest for " + admin.Age(now.Sub(st.OldestPending))
	}
	return fmt.Sprintf("%d events, %s%s", st.Pending.Events, humanize.IBytes(st.Pending.Bytes), age)
}

// await waits until all latches are set, but not longer than reloadTimeout.
func (a *Agent) await(all []*latch) {
	timeout := time.NewTimer(reloadTimeout)
	defer timeout.Stop()
	for _, l := range all {
		select {
		case <-l.c:
		case <-a.stopping.c:
			return
		case <-timeout.C:
			a.logger.Warn("reload continues in the background: replaced or removed parts have not ended yet")
			return
		}
	}
}

// needRestart returns the names of the changed settings that a running agent cannot change.
func needRestart(from, to *config.Config) (settings []string) {
	note := func(name string, differs bool) {
		if differs {
			settings = append(settings, name)
		}
	}
	note("node_name", from.NodeName != to.NodeName)
	note("data_dir", from.DataDir != to.DataDir)
	note("log_format", from.LogFormat != to.LogFormat)
	note("memory", from.Memory != to.Memory)
	note("admin", adminDiffers(from.Admin, to.Admin))
	note("wal.segment_size", from.WAL.SegmentAsked != to.WAL.SegmentAsked)
	note("wal.checkpoint_interval", from.WAL.Checkpoints != to.WAL.Checkpoints)
	note("wal.producer_idle", from.WAL.ProducerIdle != to.WAL.ProducerIdle)
	note("wal.lock_timeout", from.WAL.LockTimeout != to.WAL.LockTimeout)
	return settings
}

func adminDiffers(from, to config.Admin) bool {
	from.Pos, to.Pos = config.Pos{}, config.Pos{}
	return !reflect.DeepEqual(from, to)
}
