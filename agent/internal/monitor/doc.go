// Package monitor takes snapshots of an agent at intervals. From several of them it computes rates, the time until the log is
// full, the traffic of the last minutes, and the time at which a problem began.
//
// A Monitor holds the samples of a minute and the history of ten minutes, both with a bound. Complete adds its results to a
// status and reads nothing else, so a status never waits for a snapshot.
package monitor
