// Package inspect reads the log of a data directory for people and tools. It also works beside a running agent and on
// a damaged log.
//
// # Contract
//
//   - Inspect lists the segments, streams, cursors and missing offsets, by the indexes and the newest segment's state.
//   - Dump calls back for the events, filtered by stream, key, offset and time.
//   - Verify reads the whole log and reports every damaged part with its location.
//   - Snapshot copies the log to another folder so that the copy is consistent, and verifies the copy.
//
// The package does not change the log, lock it, or map its files. Damage is a result and not an error: a part that
// cannot be read costs only that part, and reading continues after it. Two cases are a *CorruptError: Snapshot cannot
// read the newest segment, or Dump meets damage and DumpOptions.Damaged is nil. Other errors are ErrNoLog, those of the
// file system and of the context, a *VersionError for a file that a later release wrote, and that of a page that
// changes too often to be read (see the limits).
//
// # Assumptions
//
// At most one agent writes the log meanwhile. The agent may overwrite a page that a commit has freed while the page is
// read. So a read counts only in two cases: the meta pages show that its pages were still in use afterwards
// (boltpage.File.Sound), or the block's checksum is right. The state is read before the blocks, so that events which
// are settled meanwhile are not reported as missing.
//
// # Limits
//
//   - Each stream is reported as one commit left it, but not all streams as the same commit did. Only Snapshot is
//     exact, unless the log is committed to without a pause (SnapshotReport.Exact).
//   - A segment that is unlinked during a read leaves a gap. The gap is not damage if every destination had settled
//     the segment.
//   - Verify lists the first 10,000 damaged parts and counts all of them.
//   - If commits keep invalidating a read, it is repeated for boltpage.SoundFor; after that the call returns an error.
package inspect
