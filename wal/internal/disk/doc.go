// Package disk has the operating system calls of the log beyond package os: locks, maps, syncs of folders, sizes in
// blocks, allocation ahead, and the classification of errors into shortages and others. It knows neither the log nor
// bbolt.
//
// Linux has all calls. Elsewhere Allocate is missing, and on Windows Trim and SyncDir do nothing: a mapped file cannot be
// cut there, and NTFS journals the entries of folders.
package disk
