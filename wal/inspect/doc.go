// Package inspect reads the log of a data directory for people and tools: also beside a running agent, and also where the
// log is damaged.
//
// # Contract
//
//   - Inspect lists the segments, streams, cursors and missing offsets, by the indexes and the newest segment's state.
//   - Dump calls back for the events, filtered by stream, key, offset and time.
//   - Verify reads all of the log and reports every damaged part with its place.
//   - Snapshot copies the log to another folder so that the copy is consistent, and verifies the copy.
//
// Nothing here changes the log, locks it, or maps its files. Damage is a result and no error: a part that cannot be read
// costs that part, and reading goes on after it. Errors are those of the file system and of the context, and ErrNoLog.
//
// # Assumptions
//
// At most one agent writes the log meanwhile. A page that a commit has freed may be overwritten while it is read: a read
// counts only if the meta pages show that its pages were still in use afterwards (boltpage.File.Sound), or if the
// checksum of the block is right. The state is read before the blocks, so that events which are settled meanwhile are
// not reported as missing.
//
// # Limits
//
//   - Each stream is reported as one commit left it, but not all streams as the same commit did. Only Snapshot is exact,
//     unless the log is committed to without a pause (SnapshotReport.Exact).
//   - A segment that is unlinked during a read leaves a gap; it is not damage if every destination had settled it.
//   - Verify lists the first 10,000 damaged parts and counts all of them.
//   - A busy page is read again for boltpage.SoundFor; after that the segment counts as one that cannot be read.
package inspect
