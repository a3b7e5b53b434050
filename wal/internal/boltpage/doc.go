// Package boltpage reads bbolt files page by page, without bbolt.
//
// bbolt cannot safely read a file that may be damaged or that another process writes. It takes a lock on the file,
// which can delay the start of a writer. It reports a bad page by a panic or by a fault of its memory map, in a
// goroutine where no caller can recover. It follows pages that lead back to themselves until the stack or the memory
// is exhausted. This package checks every page before it uses it. A bad page costs one error.
//
// # Contract
//
// Open reads a file, mapped or not, without a lock. A Snapshot is the file as one transaction left it. Its elements
// lie in the page that was read: bytes of a mapped file are valid until Close, others for as long as they are referred
// to. A page is read at most once for each element that leads to it, and a page that two elements lead to is damage.
//
// The package has no error types of its own. The user of a file passes Faults, which make the errors of damaged
// content, of failed reads and of files with a later format version. So the user chooses the error types in one place,
// and no error needs to be converted later.
//
// # Reading beside a writer
//
// bbolt copies on write: transaction T+1 may free the pages that T can reach, and T+2 may overwrite them before T+2's
// own meta page is written, but only after T+1's meta page was. Therefore a page is sound if, after it was read, both
// meta pages are still as they were when the snapshot began. Try reads and reports whether that was so. Sound repeats
// the read until it is, for up to SoundFor. Callers of Sound should read little at a time, because a writer that
// commits faster than the read ends makes every attempt fail.
//
// A file that is being written must not be mapped: the map of a file that is cut or extended meanwhile may fault.
//
// # The format
//
// Numbers are in the byte order of the machine that wrote the file; lengths are in bytes.
//
//	a page    id 8, flags 2, count 2, pages that continue it 4, then its elements, then keys and values
//	          flags: 1 is a branch, 2 a leaf
//	branch    for each element: offset of the key 4, length of the key 4, child page 8
//	leaf      for each element: flags 4, offset of the key 4, lengths of key and value 4 + 4
//	          flags: 1 marks a bucket, whose value is its root page 8, its sequence 8, and, when the root is 0, its only
//	          leaf, inline
//	meta      on the pages 0 and 1, behind the page header: magic 4, version 4, page size 4, flags 4, root bucket
//	          8 + 8, freelist 8, end 8 (the first page beyond all that are in use), transaction 8, checksum 8
//	          (FNV-1a of the bytes before it)
//
// Offsets count from the beginning of the element. Keys and values follow one another in the order of the elements,
// without gaps. The meta page with the higher transaction is the newest, if its checksum is right.
//
// # Assumptions
//
// The format is that of go.etcd.io/bbolt v1.5 (internal/common), file format version 2. A test reads a file that the
// linked version of bbolt has written, so a version with another format fails there. A sector of 512 bytes is written
// as a whole or not at all: a meta page fits in one.
//
// # Limits
//
// Page sizes from 1 KiB to 16 MiB; trees of up to 32 levels; no bucket within a bucket. The freelist is not read.
package boltpage
