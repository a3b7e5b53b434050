package agent

import (
	"errors"
	"slices"
	"strings"

	"github.com/standpipe/standpipe/agent/internal/condition"
	"github.com/standpipe/standpipe/wal"
)

// facts returns the agent's part of the facts for the monitor.
func (a *Agent) facts() condition.Facts {
	status := a.Status()
	volume, _ := a.disk.State()
	conf := a.conf.Load()
	return condition.Facts{
		Status: status, DataDir: conf.DataDir, Shortage: a.log.Shortage(), Volume: volume,
		LowSpace: a.disk.Rejection() != nil, MinFree: conf.WAL.MinFree.Of(volume.Size),
		DropsOldest: conf.WAL.OnFull == string(wal.DropOldest),
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

// certificates returns the certificates of all listeners. It reports false while a reload or the stop changes them.
func (a *Agent) certificates() (all []condition.Certificate, ok bool) {
	if !a.mu.TryLock() {
		return nil, false
	}
	defer a.mu.Unlock()
	add := func(s *security) {
		if s.certificate != nil {
			file, expires := s.certificate.Expiry()
			all = append(all, condition.Certificate{File: file, Expires: expires})
		}
	}
	add(&a.adminSecurity)
	for _, l := range a.listeners.bound {
		add(&l.security)
	}
	slices.SortFunc(all, func(a, b condition.Certificate) int { return strings.Compare(a.File, b.File) })
	return slices.Compact(all), true
}
