// Package catchup decides in which order a destination catches up after an outage: when an outage ends with a gap, whether
// fresh events or the backlog go next, and which events are the newest of their keys. The lanes of package shipper have the
// events. A Turns is used by one goroutine; a Search reads the log and may wait for the disk.
package catchup
