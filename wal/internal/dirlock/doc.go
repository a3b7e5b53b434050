// Package dirlock excludes a second process from a data directory.
//
// # Contract
//
// Acquire takes two locks of the kernel (flock): on the folder of the segments, and on the file LOCK beside it. They end
// with the process, however that ends. LOCK is for operators, whom its text names the holder, and for older releases,
// which lock nothing else. It looks like a stale PID file, and may be removed: the lock on the folder still holds.
//
// A process that finds the directory locked waits for Options.Timeout, and logs the holder. Then Acquire returns
// ErrLocked.
//
// The Lock keeps the folder open, so Sync needs no new descriptor: a process that has used up its descriptors can still
// make the creation of a segment durable.
//
// # Limits
//
// A file system that can lock files only, such as NFS, has the lock on LOCK alone. Processes that read the log take no
// lock.
package dirlock
