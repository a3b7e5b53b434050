// Package segment is the format of one file of the write-ahead log. It encodes, decodes, reads and checks a segment,
// and is independent of the log that the segment is part of.
//
// # Contract
//
// A segment is a bbolt file of four buckets:
//
//	bucket "meta"    version, log, segment, base, checksum, and optional entries (metacodec.go)
//	bucket "state"   the entries of streams, cursors, producers and branches (state.go and the codecs)
//	bucket "blocks"  number -> block: a run of consecutive events of one stream (block.go, frame.go)
//	bucket "index"   stream, first offset -> the numbers of the stream's next blocks, once sealed (indexcodec.go)
//
// Each format has one codec, which encodes and decodes in one file. A block, a part of the index, the meta bucket and
// each entry of the state have a CRC-32C that also covers their position. So a part in a wrong position is never
// accepted as good.
//
// There are two ways to read. Reader reads a segment as one transaction left it: BoltReader through bbolt while the
// segment takes appends, ViewPages from its mapped pages afterwards. Pages reads a file page by page, also while
// another process writes it; it takes no lock, and continues after a damaged part. Package lastcommit reads a whole
// segment before bbolt opens it for writing: bbolt would end the process at a bad page.
//
// Errors: a *CorruptError, with its location, for content that no release wrote; a *VersionError for a part that a
// later release wrote; a *ReadError, which implies no damage, for a failed read. Contain turns a panic of bbolt or a
// fault of the memory map into one of these.
//
// # Assumptions
//
// Only one process writes a segment. A sealed segment does not change: it is replaced as a whole. Bytes and names that
// a block or a page returns lie in the mapped file and are valid until the view ends.
//
// A later format keeps the version first, and the checksum at its position. A part of the state of an unknown kind is
// skipped.
//
// # Limits
//
//   - A stream's name has at most 1,024 bytes; a block holds at most 4 GiB of events, and in practice one commit's.
//   - There are 64 lanes, and offsets are 64 bits.
//   - A part of the index has about 1 KiB; the index of the newest segment is in memory, 2 to 4 bytes a block.
package segment
