// Package deadletter stores dead letters: events that a destination has rejected permanently. They are in one bbolt file,
// dead.db, beside the folder of the log's segments. A letter outlives the segment of its event.
//
// # Contract
//
// A Put that returns nil has synced its letter. IDs rise and are never reused, also after the file was set aside or
// replaced. After a disk error it is unknown whether the letter is stored. A failed sync is final: unless the disk only
// lacks space, every later Put and Drop fails with the same error, because bbolt would continue on top of pages that may
// be lost. The existing letters can still be read.
//
// A Put that finds no room returns a *FullError and has stored nothing. The file reserves room for a Drop.
//
// A letter that cannot be decoded is listed with its damage, hides no other letter, and can be dropped. If a page of the
// file is damaged, the next call that opens the file sets it aside under another name and creates a new file. A letter
// of a later release is reported, and its file is never set aside.
//
// # Path of a letter
//
//	queue.go    Put and Drop: the transaction, and its commit
//	room.go     makes room in the file before a commit
//	shrink.go   replaces the file by a shorter copy
//	file.go     opens, checks and creates the file
//	list.go     List, Get and LastID
//	codec.go    the bytes of a letter
//	parts.go    the letters in the file: long ones are in parts
//
// # Assumptions
//
// One process has the data directory, and one Queue writes the file. Of the disk and of bbolt it assumes the same as
// package wal. Other processes may read the file: bbolt's lock on it is released.
//
// # Limits
//
//   - The file has at most Budget.Max bytes; for a log that is an eighth of MaxSize. Appends leave 4 MiB of it free, or a
//     sixteenth of MaxSize if that is less: a full log whose destination rejects its events can still move on.
//   - A file above 1 MiB is replaced by a copy when letters take less than half of it.
//   - List returns at most 1,000 letters, and reads at most 4 MiB, or one letter, in one transaction. Commits wait for it.
//   - A letter that a release before parts stored needs several free pages in a row when it or its neighbour is dropped.
//     In a full file there may be none. The next copy of the file stores it in parts.
package deadletter
