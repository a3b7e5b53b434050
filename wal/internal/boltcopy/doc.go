// Package boltcopy writes a bbolt file anew: the compactor copies the needed blocks of a segment, and the dead letters
// copy the letters that are left.
//
// # Contract
//
// A Writer adds chunks of entries to a new file and commits about every ChunkSize bytes. So the memory of a copy is
// bounded, and a sync of the log never waits long for a sync of the copy. The file is complete once the last Commit has
// returned, and of no use before.
//
// # Assumptions
//
// One goroutine uses a Writer or a Chunk. The caller opens the file with bolt.Options.NoSync, closes it, and gives it
// its name: only a complete copy may replace a file.
//
// # Limits
//
// An entry that exceeds ChunkSize makes a transaction of its own size.
package boltcopy
