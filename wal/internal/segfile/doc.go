// Package segfile is the file of one segment of a running log: it creates, writes, reads, closes and removes the file.
// Package segment is the format of its content. Which segments a log has, and which of their events are needed, is the
// business of the log.
//
// # Life of a segment
//
//	Create                the file gets its name once it is whole and synced
//	Update                one transaction: PutBlocks, the entries of the state, and PutSeal in the last one
//	Stored                publishes the blocks of a committed transaction in the index
//	Sealed, Retire        no more writes; readers map the file from now on
//	Replace               a copy with fewer events takes the place of the file
//	Remove, SetAside      the file has left the log
//
// Open of a log calls the methods of load.go instead of Create, then Secure and OpenWritable for the segment that takes
// appends.
//
// # Contract
//
// When Update returns nil, its transaction is on the disk. A CommitError that is Harmless promises that nothing of the
// transaction is stored and that the next Update may work. After any other error of a commit the caller must not write
// again. Allocate, EnsureMapped and LimitTo, called before Update, turn a shortage into an error before any byte is
// written.
//
// View, Walk and PartOf never return bytes of a half-written page as good. Each block has a checksum, and Walk reports a
// faulty block to its caller. Readers must stop at the end that the log has published, since bbolt shows a transaction
// to readers before its sync.
//
// # Goroutines
//
// One goroutine at a time writes: Create, OpenEmpty, OpenWritable, Update, PutBlocks, State, PutSeal, Secure, Stored, Sealed, End,
// LimitTo, Allocate, Lengthen, Reserved, EnsureMapped and Trim belong to it. It holds no lock of this package meanwhile:
// bbolt's own lock orders the transactions. All other methods may be called from any goroutine.
//
// File.mu guards the open file: a view holds it for reading, and Close, Retire, Replace, Remove and SetAside wait for
// the views. mappedSegments.mu is acquired before File.mu. Neither is held when a caller's function runs, except
// File.mu during View's and Remove's.
//
// # Limits
//
// At most 64 sealed segments stay mapped, and 16 GiB of them, or 192 MiB on a 32-bit platform. Two descriptors are held
// back, so that the log can roll and read after clients have used up the others.
package segfile
