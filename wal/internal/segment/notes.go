package segment

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/standpipe/standpipe/wal/internal/digest"
)

// A block in which numbered batches begin has the version 2, and a tail after its frames:
//
//	n × (producer, skipped, sequence, events, left out) | length of these | CRC-32C
//	                                                    |        4        |    4
//
// A note describes a batch that begins in the block, in the order of the offsets. skipped is the number of events between
// the batch before and this one; the first batch counts from the beginning of the block. The batch may end in a later
// block of the same commit. left out is the number of sequences between the first and the last one that no event has.
//
// The checksum covers the position and the header of the block too, so that it vouches for the offsets. Open reads the
// notes and not the frames. The frames' checksum does not cover the tail. If the tail is damaged, the frames end after the
// last event that the header counts.

const (
	notedVersion = 2
	notesEnd     = 4 + 4
)

// Note is a numbered batch of a producer, as its first block describes it.
type Note struct {
	Producer string // empty: no note
	Sequence uint64 // of the first event
	Events   uint64
	Next     uint64 // the sequence that follows the batch
	Offset   uint64 // of the first event
}

// Size returns the most bytes that the note adds to its block.
func (n *Note) Size() int {
	if n.Producer == "" {
		return 0
	}
	const skipped = 5
	return numberLength(uint64(len(n.Producer))) + len(n.Producer) + skipped + numberLength(n.Sequence) + numberLength(n.Events) +
		numberLength(n.leftOut()) + notesEnd
}

func (n *Note) leftOut() uint64 { return n.Next - n.Sequence - n.Events }

// AppendNote appends a note to the notes of a block. end is the offset after the batch before it, at first that of the
// block's first event.
func AppendNote(b []byte, n *Note, end uint64) []byte {
	return AppendNumbers(AppendText(b, n.Producer), n.Offset-end, n.Sequence, n.Events, n.leftOut())
}

// AppendNotes appends the tail to the block that b has from start on, and gives it the version of a block with notes.
// The frames' checksum must be set. SealBlock writes the tail's checksum.
func AppendNotes(b []byte, start int, notes []byte) []byte {
	b[start] = notedVersion
	b = append(b, notes...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(notes)))
	return append(b, 0, 0, 0, 0)
}

// Noted reports whether the block has notes.
func Noted(value []byte) bool { return value[0] == notedVersion }

// AddBlock adds a whole block under key to the digest, without its frames.
func AddBlock(sum *digest.Sum, key, value []byte) {
	sum.Add(digest.Blocks, key, value[:HeaderLength(value)])
	if Noted(value) {
		end := len(value) - notesEnd
		sum.Add(digest.Notes, key, value[end-int(binary.BigEndian.Uint32(value[end:])):])
	}
}

// splitNotes splits the bytes after a block's header into frames, notes, and the checksum of the notes. ok is false if
// they are too short.
func splitNotes(rest []byte) (frames, notes []byte, sum uint32, ok bool) {
	end := len(rest) - notesEnd
	if end < 0 {
		return nil, nil, 0, false
	}
	length := binary.BigEndian.Uint32(rest[end:])
	if uint64(length) > uint64(end) {
		return nil, nil, 0, false
	}
	at := end - int(length)
	return rest[:at:at], rest[at:end], binary.BigEndian.Uint32(rest[end+4:]), true
}

// cutNotes cuts the tail of a block with a good header off from the frames.
func (b *Block) cutNotes(value []byte) {
	frames, notes, sum, ok := splitNotes(b.Frames)
	if ok && sum == sumNotes(binary.BigEndian.Uint32(value[headerSumAt:]), notes) {
		b.Frames, b.notes = frames, notes
		return
	}
	b.NotesLost = true
	if rest, err := b.each(func(uint8, uint64, []byte) error { return nil }); err == nil {
		end := len(b.Frames) - len(rest)
		b.Frames = b.Frames[:end:end]
	} // otherwise the frames are damaged too, and their checksum does not match
}

// sumNotes continues the checksum of a block's header with the notes.
func sumNotes(header uint32, notes []byte) uint32 { return crc32.Update(header, Castagnoli, notes) }

// sealNotes writes the checksum of the notes. header is the checksum of the block's header.
func sealNotes(value []byte, header uint32) {
	end := len(value) - notesEnd
	length := int(binary.BigEndian.Uint32(value[end:]))
	binary.BigEndian.PutUint32(value[end+4:], sumNotes(header, value[end-length:end]))
}

// ErrNotes is the error of notes that are damaged. The events of their blocks are not.
var ErrNotes = errors.New("the notes of producers are damaged")

// EachNote calls visit for each numbered batch of the segment, in the order of the commits. The block is the one in which the
// batch begins. Its bytes, and those of the note, are valid until visit returns. If some notes are damaged, EachNote visits
// the others and returns ErrNotes.
func EachNote(r Reader, seq uint64, visit func(b *Block, n *Note)) error {
	c := r.Bucket(BucketBlocks)
	if c == nil {
		return nil
	}
	var lost error
	for k, v := c.Seek(NumberKey(1)); k != nil; k, v = c.Next() {
		b, fault := PeekBlock(seq, k, v)
		if fault != "" {
			return errors.New(fault)
		}
		if err := b.EachNote(func(n *Note) { visit(&b, n) }); err != nil && lost == nil {
			lost = err
		}
	}
	return lost
}

// EachNote calls f for each numbered batch that begins in the block. The text of a note lies in the block, and the note
// is valid until f returns. The error is ErrNotes.
func (b *Block) EachNote(f func(n *Note)) error {
	if b.NotesLost {
		return fmt.Errorf("block %d: %w", b.Number, ErrNotes)
	}
	d := Decoder{Rest: b.notes}
	for end := b.First; len(d.Rest) > 0; {
		n := Note{Producer: textIn(d.Text()), Offset: end + d.Number(), Sequence: d.Number(), Events: d.Number()}
		n.Next = n.Sequence + n.Events + d.Number()
		if end = n.Offset + n.Events; d.Bad || n.Producer == "" || n.Events == 0 || n.Offset < b.First || n.Offset >= b.Next() || n.Next < n.Sequence {
			return fmt.Errorf("block %d: a note is malformed: %w", b.Number, ErrNotes)
		}
		f(&n)
	}
	return nil
}
