// Package disk has the operating system calls of the log that package os lacks: locks, maps, syncs of folders, sizes
// in blocks, and allocation ahead. It also classifies errors into shortages and others. It depends neither on the log
// nor on bbolt.
//
// Linux has all calls. Elsewhere Allocate is missing, and on Windows Trim and SyncDir do nothing: a mapped file cannot
// be cut there, and NTFS journals the entries of folders.
package disk
