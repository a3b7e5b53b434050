// Package wal is the log: it makes events safe on a disk and keeps them until every destination is
// done with them. It is a row of bbolt files and knows nothing of networks or of configuration.
//
// # The promise
//
// An Append that returns nil has been synced, with every event of its batch or none. Events of a
// stream have offsets from 1 on, without gaps; an offset is never given to two events. Read returns
// what was appended, byte for byte, and only what is synced. Each Place (a destination in a stream)
// has a ledger, and at every instant, also after a crash,
//
//	appended = delivered + dead + dropped + pending
//
// What a Settle said is on the disk after CheckpointInterval at the latest, or when Sync or Close
// returns; a crash before that takes it back as a whole, and the events are delivered again. A batch
// that a producer numbered is stored once, however often it is sent.
//
// # Files
//
//	DIR/LOCK                              held by flock; says who holds it
//	DIR/dead.db                           dead letters (DeadLetters)
//	DIR/wal/0000000000000001.seg          a segment
//	DIR/wal/0000000000000002.seg.new      one that was never finished, or a copy; Open removes it
//	DIR/wal/0000000000000003.seg.corrupt  one that was set aside; nothing reads or removes it
//	DIR/wal/0000000000000001.begun        empty: the last segment that has begun, should its file be gone
//
// The segment with the highest number that has begun is the newest and takes the appends. Once it is half
// full the next one is made ready beside the committer: made, allocated, synced, renamed to its name, and its
// folder synced. It holds its meta and nothing else until the newest has SegmentSize: the commit that makes it
// so also marks it as sealed and writes its index, and the first commit after that begins the next one,
// with the log's state and its own events in one transaction. So no append waits for a roll.
//
// A crash leaves one of three, and each says which is the newest:
//
//	not marked                       it is the newest. What was made ready after it is removed
//	marked, then one not begun       all that was stored is in the marked one, with the state, so it is neither
//	                                 unlinked nor rewritten yet. Open begins the other
//	marked, then one that has begun  the last is the newest
//
// A last segment with the mark and none after it says that its successor is missing, and one that has not
// begun says that the one before it was there: there is never a second one that has not begun.
//
// # A segment
//
// Numbers in keys and headers are big-endian, in the state uvarints; texts have their length before them.
//
//	bucket "meta"    version     1 byte: 1
//	                 log         the id of the log
//	                 segment     8 bytes: the number in the file's name
//	                 base        8 bytes: new streams begin after this offset (see Loss)
//	                 sealed      there once a later segment may have begun
//	                 gapped      there once it was rewritten: blocks may lack events
//	                 sum         the CRC-32C of log, segment and base; where it is, each value of the state
//	                             has the CRC-32C of its key and of itself behind it
//	bucket "state"   's' stream                next offset and payload bytes when the segment began
//	                 'd' stream, destination   its place: ledger, state, the marks of all lanes
//	                 'p' stream, producer      next sequence, last seen, the last runs of
//	                                           (sequence, offset, count)
//	bucket "blocks"  a number, 8 bytes, from 1 on and rising -> block; the bucket's sequence is the last number,
//	                 or 0 in a segment that was rewritten
//	bucket "index"   stream, a first offset -> where the stream's next blocks stand, once sealed
//
// All streams share one row of blocks, in the order of their commits: pages are filled whole, and only the
// row's last leaf is written again with the next commit, however many streams there are. A bucket for
// each stream wrote 2.8 times the bytes for sixteen streams that shared commits of 256 KiB, this 1.2.
//
// A block is a run of consecutive events that one commit appended to one stream:
//
//	 0       1          5       13      17     25       33      41      49         53         55
//	+---------+----------+-------+-------+------+--------+-------+-------+----------+----------+------+--------
//	| version | header's | first | count | time | before | bytes | lanes | frames'  | length   | name | frames
//	|    1    | CRC-32C  |       |       |      |        |       |       | CRC-32C  | of name  |      |
//	+---------+----------+-------+-------+------+--------+-------+-------+----------+----------+------+--------
//
// first is the offset of its first event and name the stream's, so that a block says by itself what it is;
// time is the agent's clock at the commit in Unix nanoseconds; before and bytes count the payloads of
// the stream before the block and in it; lanes has a bit for each lane that the block has events of. The
// header's sum covers the segment's number, the block's number and the header with the name, so that a
// block in the wrong place is none. It is a sum of its own because a reader of other lanes goes by the
// header alone.
//
// The index tells for each stream which offsets stand in which block, so that nobody reads another stream's
// blocks and a block that can't be read is known for what it held. That of the newest segment is in
// memory: 2 to 4 bytes a block, and about 200 for each stream. It is written into the
// segment by its last transaction, in parts of 1 KiB, each with a sum:
//
//	 0        1         5      13       21      29       37     45
//	+---------+---------+------+--------+-------+--------+------+-------------------------------
//	| version | CRC-32C | next | before | after | number | last | for each block: count, number
//	+---------+---------+------+--------+-------+--------+------+-------------------------------
//
// A reader takes a part at a time from the file. Where the index is damaged or missing, the blocks are read
// and it is made again, in memory.
//
// A frame is the event's lane (1 byte), a length (varint) and the event in the encoding of
// standpipe.v1.Event: an event that came in this encoding is copied once, into its block, and its time put
// behind it if it said none (IndexEvent). In a segment that was rewritten, 0xff and a varint stand for so
// many events that are gone: they are in count and in bytes, and not in lanes.
//
// bbolt keeps up to four large values in the row's last leaf and writes them again with the next
// commit, and what a leaf leaves of its last page is lost: both go by the length of a block. Bytes
// written for each byte of payload (wchar of /proc/self/io; ext4, Linux 6.18, 2 cores):
//
//	                     events of 200 bytes       of 1 KiB            of 4 KiB
//	blocks of at most  16K   256K  1M a commit   16K   256K  1M     16K   256K  1M
//	       4,056       3.12  1.26  1.17          3.25  1.46  1.37   3.75  1.64  1.54
//	       8,144       3.49  1.23  1.13          3.49  1.30  1.18   3.75  1.64  1.54
//	      16,344       4.48  1.34  1.15          4.48  1.32  1.12   4.48  1.40  1.23
//	      32,728       5.94  1.52  1.16          5.82  1.43  1.14   5.82  1.49  1.17
//	in pairs of 16,320  3.34  1.24  1.13          3.30  1.23  1.11  3.68  1.49  1.38
//	with small ends     2.51  1.19  1.11          2.65  1.17  1.10  3.28  1.48  1.37
//	and wide leaves     2.42  1.17  1.09          2.57  1.15  1.05  3.23  1.32  1.11
//	  for 16 streams          1.20                      1.19              1.47
//
// In pairs: bbolt fills leaves with two large values each, so the first block of a leaf ends with the
// event that makes half of its four pages full, and the second takes what the first has left. With small
// ends: the last two leaves of a commit have one page, since those are written again, and the one before
// makes that come out. A batch that is laid out before its commit has them unless others wait before it.
// Small commits are what wears out a gateway's flash. An event that fits with no other has a block of its own.
// Wide: while 256 KiB are to follow, or others wait, leaves have 32 pages instead of four. bbolt allocates, clears and
// writes each leaf by itself, so that 64 appenders of 100 events took 1.24 to 1.40 of the floor's time with four
// pages, 1.02 to 1.15 with 16, 1.02 to 1.04 with 32 and 1.04 to 1.26 with 64; and fewer blocks are read faster. Who
// reads a single lane reads more of the others' events, which stand between.
// (go test -run xxx -bench Amplification -benchtime 100x ./wal)
//
// # Appending
//
// Submit encodes the batch, one of 64 KiB or more as blocks, and one goroutine, the committer, takes all
// batches that wait, gives them offsets, lays them into blocks, stream by stream, and stores them with one
// transaction: two fdatasyncs and no other sync (strace: 2,005 for 1,001 commits). The next group gathers meanwhile.
// An appender that does nothing but wait (Append, or Batch.Awaited) does the committer's work itself when that
// is idle, for one group: what comes meanwhile is the committer's again, so that nobody is kept by others' batches.
// Settlements and the producers' sequences ride along; while nothing is appended they are committed
// by themselves.
// A commit holds about 8 MiB, and 16 MiB of batches may wait, beyond which Submit waits.
//
// A commit that fails otherwise than for lack of space before its meta page leaves bbolt willing to
// go on with a file whose content nobody knows. So the log fails for ever: every append is refused with
// ErrFailed, and only those of that one commit may have been stored nevertheless. Reading goes on.
//
// # Figures
//
// How many times as long the log takes as its floor does in the same run (go test -run xxx -bench . ./wal;
// 2 cores and a disk that others use too, so that a ratio varies by a tenth and more; ext4, Linux 6.18,
// events of 1 KiB):
//
//	one appender of single events, p50       1.05  bbolt alone with the same commits
//	one appender of 100 events, p50          1.12  the same
//	64 appenders of single events            1.08  the same, from one goroutine; 31 events a commit
//	64 appenders of 100 events               1.03  the same; 3,000 events a commit
//	reading a backlog in order, cached       1.0   reading the segments' files whole, 1.2 GB/s; up to 1.5 and
//	                                               0.6 GB/s while others are at work
//	opening with a backlog of 8 GiB             2  an empty log; 80 ms, of 128 segments (STANDPIPE_WAL_BACKLOG=8GiB
//	                                               go test -run Backlog -v ./wal); reading it took 14 MiB of memory
//
// With 64 appenders the 99th percentile is 1.2 to 2 times the median on a quiet machine; others at
// work on its disk have made it 16. An
// append of one event allocates 7 times when it shares its commit with 31 others, and 85 times, nearly all
// of them bbolt's, when it is alone.
// Sixteen streams that share commits of 256 KiB write 1.19 bytes for each byte of payload, one stream 1.15.
//
// What upkeep adds to the 99th percentile of one appender of 100 events, in median commits, over a log in the same
// run whose one segment never ends, where a segment rolls every 30 to 40 commits (go test -run xxx -bench Upkeep
// ./wal): on a quiet disk rolls 0.0, 0.0 and 0.3, where they added 1.9 when the committer made them; truncation of
// each segment at once 0.0, 0.0, 0.5 and 0.9; a third of each rewritten as well -0.4, and -0.2, 0.3 and 1.2 on a disk
// that others used, where the floor's own 99th percentile is 7 to 11 median commits and not 2.
//
// # Room
//
// All segments together never occupy more than MaxSize (blocks on the disk, not lengths). What a group
// may take is reckoned from above: its blocks with their share of half-filled pages, the last leaf
// again, the index, and the state of its producers. Kept free of appends are: all places once more, for a checkpoint;
// the index and the mark that seal the newest segment; the next segment with the whole state; a margin of 1 MiB (a
// sixteenth of MaxSize if that is less); and the room of a copy (see Truncation). bbolt is kept from growing a file
// beyond that, so an estimate that is too low costs a refusal, and not MaxSize.
//
// The newest segment is allocated ahead (fallocate), so that lack of space shows before a byte of a
// commit is written and only rejects appends, and the room for a checkpoint and the seal stays allocated: they find
// their blocks on a disk that is full to the last one, and truncation, which needs the checkpoint, goes on. On a disk
// with less than 1 GiB free the next segment is made, and allocated, as soon as the newest has begun. Every other
// shortage (descriptors, memory, address space, an interrupted call) is met before that too, and is a refusal or tried
// again; the newest segment grows on when the next one can't be made. The log keeps descriptors aside for the next segment
// and for a sealed one, which needs none once it is mapped.
// It also saves bbolt's sync for every growth. Where a file system can't allocate ahead, ENOSPC is met in
// the write itself; it is a refusal as long as the transaction's meta page has not been written.
//
// The newest segment ends at SegmentSize or, on a disk that is short, at a quarter of the bytes that the log has and
// could have there. It grows on while there is no room for the segment after the next. When an append finds no room and
// no destination needs the events of the newest segment, that segment is sealed however short it is, the next one begins
// with the state as it is then, and the old one is unlinked: a log whose events are all settled takes events again. A
// full log checks for that at each checkpoint too, so that it has room again before the next append.
//
// The state (streams with events, places, producers) is in every segment, three times in the reckoning above. A stream or
// a producer that is new, and would take it over an eighth of MaxSize, is rejected by name (StateError); a
// destination that is new to a stream with events, over three sixteenths. Known names stay usable: a producer keeps
// fewer runs once they take half of the bound. Within it there is room for an append of three fifths of
// MaxSize once all is settled, and only a larger one is ErrTooLarge, regardless of the state. A stream that has not
// stored an event leaves nothing behind: it is dropped when its append was rejected or its last place is parked.
//
// A full log refuses (Reject), lets appends wait for as long as their callers do (Block), or has the
// destinations drop what they have not settled of the oldest segment (DropOldest: an open place by
// its Floor, a parked one by itself). An append that would not fit an empty log is refused in every
// mode. Full stays true until there is room for 1 MiB (a sixth of MaxSize if that is less), or for a second after a refusal.
//
// A stream may have a share of its own (Policy.MaxSize). It holds what the one of its destinations that
// has settled least has not settled: the payloads, and 64 bytes for each event. That is no measure of the
// disk: a segment goes when all of it is settled. What would exceed the share meets the stream's
// OnFull before it takes any of the memory for appends under way, so no other stream waits for it.
// DropOldest asks for a sixteenth of the share at once, whole blocks, and the append waits until the
// destinations have dropped them. A batch that is stored already is told so also by a full stream under Reject.
//
// # Age
//
// What is older than a stream's MaxAge and not settled is dropped, at the latest 1/32 of MaxAge late, also
// of parked destinations. Age is told by the monotonic clock for all that was appended since Open, so a clock
// that jumps makes no difference to it: upkeep notes every 1/64 of MaxAge how far the stream has come.
// What an earlier run appended is as old as its blocks' times say, once the agent's clock has gone evenly
// for MaxAge, or for ten minutes if that is less: a clock that is wrong at the boot and then set right drops
// nothing. (The blocks of a run whose clock was behind and then set right are older by their times than
// they are, and after a restart go sooner.) A block of a time that has not come yet is as old as the next.
// Producers' silence is told in the same way. Time while the machine is suspended does not count.
//
// # Truncation
//
// A segment is unlinked when every destination of every stream in it is done with it by what is on the
// disk, whether it is the oldest or not; a stream that never had a destination keeps everything. A sealed
// segment of which little is needed any more is written again without the rest, one at a time, and renamed over
// the old one: a destination that is stuck, or a single lane of it, keeps its own events, and not what others
// have appended beside them.
//
// Both run beside the committer, in goroutines of their own. Unlinks share one sync of the folder. A segment whose
// unlink fails counts as in use, and is tried again at the next checkpoint. A rewrite reads, or writes and syncs, 1 MiB
// at a time, for which a commit may have to wait, and then rests for three times as long as that took, unless the log
// is full.
//
// That begins when the sealed segments occupy more than 18/16 of what some destination has not settled
// (payloads, and 32 bytes for each event) and half a segment. It is looked for every five seconds, and a
// segment of which less is needed than at the last look drains by itself; a full log waits for neither. The
// segment of which the least seems to be needed, by the marks of its lanes, is read first, and written only
// if a quarter of it goes; otherwise, and after it was written, it rests until half of its size has been
// settled somewhere. So a byte that is written again frees a third of a byte at least: three bytes are
// written again for each that was appended at the very worst, and where one stream in ten is stuck, 0.1. In use stays
// less than 1.3 times what is not settled, and two segments (stuck_test.go measures it with one of ten
// streams stuck, and with one and eight of the 64 lanes).
//
// The blocks of the copy have frames of the needed events only, and cover the offsets of those between them
// by gaps. What a new destination finds missing there counts as dropped with the reason absent. The time of
// a block that was made of several is the last one's. The copy counts as in use, and is written into room
// that appends leave free for it: three quarters of a segment, a twentieth of MaxSize if that is less. So a
// full log of which little is needed makes room by itself. Segments are not joined: one with a single
// event that is stuck occupies about 24 KiB and its state. With 5,000 of those the log opened in 1.1 to 1.8
// seconds on a busy machine, and held 4 MiB of memory for them.
//
// # Opening
//
// A lock on the segments' folder and one on the file LOCK keep a second agent out; removing LOCK changes nothing while the
// agent runs. bbolt's own lock is released, so that tools may read beside a running agent. The newest segment is read whole, page by page, before bbolt opens it: bbolt does
// the same when it opens a file for writing, and ends the process when a page is bad. Of the others
// the indexes are read. Sealed segments stay mapped up to a budget in bytes: 16 GiB and 64 of them, 192 MiB on 32-bit
// platforms, and those without a reader are unmapped when address space runs out.
//
// Sealed segments are read page by page too, from a map of the file and without bbolt, which follows pages
// that lead back to themselves until its stack or the memory is full: that ends the process, and no
// recover contains it.
//
// # Loss
//
// A segment that can't be read, that belongs to another log, or whose offsets overlap a later one's is set
// aside whole. Damage inside a sealed segment is found by Read, which returns a *CorruptError; Lose gives
// up the blocks that can't be read and no more. Either way what a place still waited for and the log
// does not hold counts as dropped with the reason corrupt, and its offsets are told: in the agent's log,
// and by Inspect for as long as the segments around it are there; of the oldest up to where they went, for as long
// as its file is.
//
// When the newest segment is lost, or the newest commit may be since a meta page is bad, its last offsets
// are unknown. Numbering goes on past all that it can have held: a whole segment of the shortest events,
// millions of offsets, which count as appended and as dropped; several, if more numbers than one are missing. (To
// bound that by a reservation, an older segment would have to be written now and then while the newest takes
// appends; it is not done.) New streams
// begin there too, since one of them may have been in the lost segment. Producers may go on with any
// sequence. The ledgers are those of the segment before: what was delivered since counts as dropped or is
// delivered again. Only the loss of every segment loses the log's id.
//
// Only content that is wrong in two reads is damage. When the disk fails a read, Open reads again after pauses, and then
// returns that error and changes nothing; so it does with a file that it may not open. A segment on a bad sector
// that stays bad is set aside by hand: renamed to its name with ".corrupt" behind it. While the log is open, a Read that
// the disk fails returns an I/O error for a minute, and a CorruptError after that.
//
// A part that a later release wrote ends Open with a VersionError, before anything is changed. A version counts only
// where the checksum beside it holds; every later format keeps both in their places. Open looks at every segment's
// version, at the newest segment whole, at the index and the first and last block of the others, and at the last dead letter.
//
// # Copies
//
// A copy of the directory has the log's id. Open treats a directory as a copy when properties that are not copied with
// the files differ from the record in the newest segment: the inode and time of birth of its file and folder; the
// machine's id, serial number and network cards; the number of events, which an attribute of the folder notes every
// second. Then the
// stream's later events are a branch of their own (Branches), so that no id is given twice. A restart, another host
// name or a rename of the directory begins none. Each producer may then leave out, once, events that the copy lacks:
// that is logged, and elsewhere a gap is a SequenceError. Not noticed is: a copy on other systems than Linux; a disk
// that is copied as a whole, where machine id, serial number and cards are the same; an older copy that is written
// into the files that are there, within ten seconds after an agent was killed. Snapshot makes a consistent copy.
//
// # Assumed
//
// Of the disk: what fdatasync and fsync have confirmed stays (the loop device of Linux 6.18 does not keep
// this when its file finds no room); a page that bbolt wrote over because it was free harms no other page;
// a sector of 512 bytes is written whole or not at all (a meta page fits one).
// Not assumed: that writes reach it in order, that a failed sync can be repeated.
// Of bbolt (v1.5): copy on write; the pages of the last two transactions are not written over; the file
// format, of which the meta pages and the pages' headers are read directly. Of the kernel: flock,
// mmap that shows what pwrite wrote. Network file systems give less.
//
// # Limits
//
//	a batch                     64 MiB with its framing
//	a stream's, destination's
//	or producer's name          1,024 bytes
//	producers remembered        8,192 (twice that for a while), the silent for longest are forgotten first, and
//	                            those silent for ProducerIdle (7 days): what they send again is stored again
//	runs of a producer          256, fewer when all take a sixteenth of MaxSize; an older batch is recognized as a
//	                            duplicate, but its offset is not known
//	streams, producers, places  an eighth of MaxSize together: about 500 streams with a destination in 1 MiB. A stream
//	                            with events is kept in memory, with its places, for ever
//	memory                      16 MiB of batches that wait, 16 MiB of blocks, what bbolt
//	                            needs for one commit, what readers ask for
package wal
