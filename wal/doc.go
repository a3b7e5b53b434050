// Package wal is the write-ahead log. It makes events durable, and keeps them until every destination has settled them.
// It is a sequence of bbolt files, and depends neither on the network nor on the configuration.
//
// # Contract
//
// An Append that returns nil has synced all events of its batch. An Append that returns an error has stored nothing of
// its batch, unless the error is ErrFailed and its text states that the outcome is unknown. The offsets of a stream
// begin at 1, have no gaps, and are never reused. Read returns synced events only, byte for byte. A numbered batch of a
// producer is stored once, however often it is sent.
//
// Each Cursor, a destination's position in a stream, has a ledger. At every instant, also after a crash,
//
//	appended = delivered + dead + dropped + pending
//
// A Settle is on the disk within Options.CheckpointInterval, or when Sync or Close returns. A crash before that undoes it as a
// whole, and the events are delivered again.
//
// The segments and the dead letters never occupy more than MaxSize, in blocks on the disk. A full log rejects appends,
// lets them wait, or makes its destinations drop the oldest events (OnFull). An append that an empty log has no room
// for is ErrTooLarge. A shortage of space, descriptors or memory before the first write of a commit only rejects its
// appends. After any other error of a commit the log has failed: it stores nothing more (ErrFailed), and reads still
// work.
//
// A segment is unlinked, or retained for Options.Retain, when the checkpoints on the disk of all destinations settle all of its events. A retained segment is read by
// History alone, counts as free, and is unlinked before anything is rejected for lack of space. Events of a stream that
// never had a destination are kept. A parked cursor (Cursor.Park) needs the events that it had, and none
// that was appended later. Events that a Policy drops, events that are appended while a cursor is parked, and events
// that are lost to damage, are counted as dropped in the ledger, with their reason.
//
// Read returns a CorruptError for damage to a sealed segment, and Cursor.Lose gives up the unreadable blocks only, for
// one destination: another one may hold their events in memory. Lost events count as settled, so none counts again if
// it can be read later. Open sets a segment aside if two reads find it damaged. If the newest segment is lost,
// numbering continues beyond all offsets that it can have held. Open returns a VersionError, before it changes
// anything, if a later release wrote a part of the log.
//
// A copy of the directory begins a branch when it is opened (Branches), so that no two events share an id. Snapshot
// makes a consistent copy.
//
// # Path of an event
//
//	internal/commit    ticket.go encodes the batch (internal/layout), and commits inline if the committer is idle;
//	                   committer.go gathers the waiting appends and the moved cursors; admission.go admits them, and finds
//	                   resent ones (internal/producer); commit.go lays, writes and syncs one group, and publishes it:
//	                   tx.Commit and the sync are in internal/segfile/write.go
//	internal/reader    finds the segment (internal/liveset), and copies the wanted events (internal/segfile/walk.go)
//	cursor.go          Settle moves a cursor in memory; checkpoint.go writes it with a commit
//	                   internal/truncate unlinks settled segments; internal/compact shrinks segments that are settled in
//	                   part
//
// Open reads the folder with internal/recovery, which finds the last whole commit with internal/lastcommit; recover.go makes the newest segment writable.
//
// The comment of Log lists the owners of the log's state and the order of their locks. The format of a segment is
// package internal/segment. Package deadletter stores rejected events beside the segments. Package inspect reads a log
// offline, or beside a running agent.
//
// # Assumptions
//
// Of the disk: data that fdatasync or fsync has confirmed stays; a page that bbolt wrote to a free place damages no
// other page; a sector of 512 bytes is written whole or not at all (a meta page fits one). Not assumed: that writes
// reach the disk in order, or that a failed sync can be repeated. The loop device of Linux 6.18 breaks the first
// assumption when its file finds no space. Network file systems guarantee less.
//
// Of bbolt v1.5: copy on write; the pages of the last two transactions are not overwritten; the file format. Of the
// kernel: flock, and that mmap shows the bytes of pwrite.
//
// One process opens a directory at a time: Open locks it. Other processes may read beside it.
//
// # Limits
//
//	a batch                     64 MiB with its framing
//	names                       1,024 bytes: of a stream, a destination or a producer
//	one commit                  about 8 MiB; 16 MiB of batches may wait, and Submit waits beyond that
//	producers                   8,192 (twice that for a while); the longest idle are evicted first, and those that are
//	                            idle for ProducerIdle (7 days): their repeated batches are stored again
//	runs of a producer          256, fewer when all take a sixteenth of MaxSize; an older batch is recognized as a
//	                            duplicate, but its offset is unknown
//	streams, producers, cursors an eighth of MaxSize together: about 500 streams with a destination in 1 MiB; a stream
//	                            with events is kept in memory for ever
//	an append                   three fifths of MaxSize
//	a lost newest segment       costs millions of offsets: as many as a segment can hold of the shortest events
//	ages                        dropped at most 1/32 of MaxAge late; the time of a suspended machine does not count
//	copies                      not recognized: on other systems than Linux; of a whole disk with the same machine id,
//	                            serial number and network cards; an older copy written into the existing files within
//	                            ten seconds after a kill
//	memory                      16 MiB of waiting batches, 16 MiB of blocks, bbolt's for one commit, and the readers'
package wal
