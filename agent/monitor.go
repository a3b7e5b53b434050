package agent

import (
	"errors"
	"time"

	"github.com/standpipe/standpipe/agent/internal/condition"
	"github.com/standpipe/standpipe/wal"
)

// facts returns the agent's part of the facts for the monitor.
func (a *Agent) facts() condition.Facts {
	status := a.snapshot()
	volume, _ := a.disk.State()
	conf := a.conf.Load()
	shortage := a.log.Shortage()
	switch reason := status.Accepting.Reason; { // it may have changed since the status
	case reason == string(wal.FullWAL) || reason == string(wal.FullDisk):
		shortage = wal.Shortage(reason)
	case reason == "" && conf.WAL.OnFull != string(wal.DropOldest):
		shortage = wal.NoShortage
	}
	return condition.Facts{
		Now: time.Now(), Status: status, DataDir: conf.DataDir, Shortage: shortage, Volume: volume,
		LowSpace: a.disk.Rejection() != nil, MinFree: conf.WAL.MinFree.Of(volume.Size),
		DropsOldest: conf.WAL.OnFull == string(wal.DropOldest), LinkDown: a.uplink.DownSince(), ClockUnset: a.clock.Unset(),
	}
}

// refusal returns the reason for which appends are not accepted; empty: they are.
func (a *Agent) refusal() string {
	switch {
	case a.log.Failed() != nil:
		return "failed"
	case a.stopping.isSet():
		return "draining"
	case !a.running.isSet():
		return "starting"
	case a.disk.Rejection() != nil:
		return "min_free"
	case a.conf.Load().WAL.OnFull != string(wal.DropOldest):
		return string(a.log.Shortage())
	}
	return ""
}

// Ready returns an error if events are not accepted, or will soon not be.
func (a *Agent) Ready() error {
	switch reason := a.refusal(); reason {
	case "":
		if a.draining.isSet() {
			return errStopping
		}
		return nil
	case "failed":
		return a.log.Failed()
	case "draining":
		return errStopping
	case "starting":
		return errors.New("the agent is starting")
	case "min_free":
		return errors.New("the disk has less free space than min_free")
	case string(wal.FullDisk):
		return errors.New("the disk is full")
	default:
		return errors.New("the log is full")
	}
}

// accepting returns an error if no event may be appended. A full WAL rejects each append itself.
func (a *Agent) accepting() error {
	if a.stopping.isSet() {
		return errStopping
	}
	return a.log.Failed()
}
