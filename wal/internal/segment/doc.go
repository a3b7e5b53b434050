// Package segment is the format of one file of the write-ahead log: it encodes, decodes, reads and checks a segment, and
// knows nothing of the log that the segment is part of.
//
// # Contract
//
// A segment is a bbolt file of four buckets:
//
//	bucket "meta"    version, log, segment, base, checksum, and marks (metacodec.go)
//	bucket "state"   the entries of streams, cursors, producers and branches (state.go and the codecs)
//	bucket "blocks"  number -> block: a run of consecutive events of one stream (block.go, frame.go)
//	bucket "index"   stream, first offset -> where the stream's next blocks stand, once sealed (indexcodec.go)
//
// Each format has one codec, which encodes and decodes in one file. A block, a part of the index, the meta bucket and each
// entry of the state have a CRC-32C that also covers where they stand, so that a part in a wrong place is never taken for
// a good one.
//
// There are two ways to read. Reader reads a segment as one transaction left it: BoltReader through bbolt while the
// segment takes appends, ViewPages from its mapped pages afterwards. Pages reads a file page by page, also while another
// process writes it; it locks nothing, and goes on after a damaged part. CheckSegment reads a whole segment before bbolt
// opens it for writing: bbolt would end the process at a bad page.
//
// Errors: content that no release wrote so is a *CorruptError with its place; a part that a later release wrote is a
// *VersionError; a failed read is a *ReadError, which implies no damage. A panic of bbolt or a fault of the memory map
// becomes one of these in Contain.
//
// # Assumptions
//
// Only one process writes a segment. A sealed segment does not change: it is replaced whole. Bytes and names that a block
// or a page returns lie in the mapped file and are valid until the view ends.
//
// A later format keeps the version first, and the checksum in its place. A part of the state of an unknown kind is
// passed over.
//
// # Limits
//
//   - A stream's name has at most 1,024 bytes; a block holds at most 4 GiB of events, and in practice one commit's.
//   - There are 64 lanes, and offsets are 64 bits.
//   - A part of the index has about 1 KiB; the index of the newest segment is in memory, 2 to 4 bytes a block.
package segment
