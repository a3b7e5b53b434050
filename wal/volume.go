package wal

import (
	"github.com/standpipe/standpipe/wal/internal/capacity"
	"github.com/standpipe/standpipe/wal/internal/disk"
)

// Volume is the file system of the log's directory.
type Volume = disk.Volume

// Volume returns the present state of the log's file system. It makes one system call, which may hang as the disk does.
func (l *Log) Volume() (Volume, error) { return disk.VolumeOf(l.dir) }

// Shortage is the limit that keeps a log from accepting events.
type Shortage = capacity.Shortage

// The shortages.
const (
	NoShortage = capacity.NoShortage
	FullWAL    = capacity.FullWAL  // MaxSize is in use
	FullDisk   = capacity.FullDisk // MaxSize is not in use, and the file system has no free bytes
)

// Full reports whether the log is full: appends wait for free bytes, or the last append was rejected because there were
// too few and that has not changed, or the log was opened with too few free bytes.
func (l *Log) Full() bool { return l.capacity.Full() }

// Shortage returns the reason if Full returns true, else NoShortage.
func (l *Log) Shortage() Shortage { return l.capacity.Shortage() }
