package segment

import (
	"encoding/binary"
	"errors"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/standpipe/standpipe/test/draw"
)

// withNotes returns soundBlock with notes.
func withNotes(notes []byte) []byte {
	value := AppendNotes(soundBlock(), 0, notes)
	SealBlock(value, 2, 3)
	return value
}

func someNotes() (notes []Note, encoded []byte) {
	notes = []Note{
		{Producer: "p", Sequence: 1, Events: 1, Next: 2, Offset: 7},
		{Producer: "another", Sequence: math.MaxUint64 - 100, Events: 1000, Next: math.MaxUint64 - 1, Offset: 9},
	}
	notes[1].Events = 50 // the batch ends in a later block
	end := uint64(7)
	for i := range notes {
		encoded = AppendNote(encoded, &notes[i], end)
		end = notes[i].Offset + notes[i].Events
	}
	return notes, encoded
}

func notedBlock() []byte {
	_, encoded := someNotes()
	return withNotes(encoded)
}

// readNotes parses a block and returns its notes.
func readNotes(value []byte) (notes []Note, fault string, err error) {
	b, fault := ParseBlock(2, NumberKey(3), value)
	if fault != "" {
		return nil, fault, nil
	}
	err = b.EachNote(func(n *Note) {
		c := *n
		c.Producer = strings.Clone(n.Producer)
		notes = append(notes, c)
	})
	return notes, "", err
}

func TestNotes_AreReadAsTheyWereWritten(t *testing.T) {
	want, _ := someNotes()
	value := notedBlock()
	got, fault, err := readNotes(value)
	if fault != "" || err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %s, %v, want %+v", got, fault, err, want)
	}
	noted, _ := ParseBlock(2, NumberKey(3), value)
	plain, _ := ParseBlock(2, NumberKey(3), soundBlock())
	if !slices.Equal(noted.Frames, plain.Frames) || noted.Next() != plain.Next() || noted.Lanes != plain.Lanes {
		t.Error("the notes change the events of the block")
	}
	if got, fault, err := readNotes(soundBlock()); len(got) > 0 || fault != "" || err != nil {
		t.Errorf("got %+v, %s, %v of a block without notes", got, fault, err)
	}
}

// A bit flipped in the header is a fault, also for Open, which does not read the frames. A bit flipped in the tail costs the
// notes and no event.
func TestNotes_FlippedBitCostsNoEvent(t *testing.T) {
	header, frames := HeaderLength(soundBlock()), len(soundBlock())
	plain, _ := ParseBlock(2, NumberKey(3), soundBlock())
	for i := range notedBlock() {
		value := notedBlock()
		value[i] ^= 0x10
		b, whole := ParseBlock(2, NumberKey(3), value)
		_, peeked := PeekBlock(2, NumberKey(3), value)
		if (whole == "") != (i >= frames) || (peeked == "") != (i >= header) {
			t.Errorf("byte %d: got %q, and %q without the frames", i, whole, peeked)
		}
		err := b.EachNote(func(*Note) {})
		if i >= frames && (!errors.Is(err, ErrNotes) || !slices.Equal(b.Frames, plain.Frames)) {
			t.Errorf("byte %d: got %v and %d bytes of frames, want ErrNotes and %d bytes", i, err, len(b.Frames), len(plain.Frames))
		}
	}
	for n := range len(notedBlock()) {
		b, fault := ParseBlock(2, NumberKey(3), notedBlock()[:n])
		if (fault == "") != (n >= frames) || fault == "" && !b.NotesLost {
			t.Errorf("the first %d bytes: got %q, and lost notes: %t", n, fault, b.NotesLost)
		}
	}
}

// The notes of another commit, whose page a power loss has left in this place, do not pass for those of this block.
func TestNotes_BelongToTheirHeader(t *testing.T) {
	value := notedBlock()
	binary.BigEndian.PutUint64(value[firstAt:], 8)
	binary.BigEndian.PutUint32(value[headerSumAt:], headerSum(value[:HeaderLength(value)], 2, 3))
	if b, _ := PeekBlock(2, NumberKey(3), value); !b.NotesLost {
		t.Error("notes with the offsets of another header pass")
	}
}

// An earlier release reads the header of a block with notes as that of a later release, so that it changes nothing.
func TestNotes_BlockIsOfALaterReleaseForEarlierOnes(t *testing.T) {
	value := notedBlock()
	known := append([]byte{plainVersion}, value[1:]...)
	if _, fault := peekHeader(2, NumberKey(3), known); fault != "" {
		t.Errorf("got %q: the header's checksum is not where earlier releases expect it", fault)
	}
	value[0] = BlockVersion + 1
	var later *VersionError
	if err := LaterBlock(2, NumberKey(3), value); !errors.As(err, &later) || later.Got != BlockVersion+1 {
		t.Errorf("got %v, want a VersionError", err)
	}
}

func TestNotes_MalformedOnesAreAnError(t *testing.T) {
	block := Block{First: 7}
	for name, notes := range map[string][]byte{
		"no producer":    AppendNote(nil, &Note{Sequence: 1, Events: 1, Next: 2, Offset: 7}, 7),
		"no event":       AppendNote(nil, &Note{Producer: "p", Sequence: 1, Next: 1, Offset: 7}, 7),
		"beyond the end": AppendNote(nil, &Note{Producer: "p", Sequence: 1, Events: 1, Next: 2, Offset: 10}, block.First),
		"overflow":       AppendNumbers(AppendText(nil, "p"), 0, math.MaxUint64, 2, 0),
		"cut off":        AppendText(nil, "p"),
		"garbage":        {0xff},
	} {
		if got, fault, err := readNotes(withNotes(notes)); fault != "" || err == nil {
			t.Errorf("%s: got %+v, %q, %v, want an error", name, got, fault, err)
		}
	}
}

func TestNotes_SizeIsAnUpperBound(t *testing.T) {
	seed := draw.Seed(t)
	r := rand.New(rand.NewPCG(seed, 1))
	for range 1000 {
		n := Note{Producer: strings.Repeat("p", 1+r.IntN(300)), Sequence: r.Uint64() >> (1 + r.IntN(60)), Events: 1 + r.Uint64N(1<<20)}
		n.Next = n.Sequence + n.Events + r.Uint64()>>(2+r.IntN(62))
		first := r.Uint64() >> 1
		n.Offset = first + uint64(r.Uint32()>>r.IntN(32))
		if got := len(AppendNote(nil, &n, first)) + notesEnd; got > n.Size() {
			t.Fatalf("got %d bytes, want at most %d, of %+v", got, n.Size(), n)
		}
	}
	if n := (&Note{}); n.Size() != 0 {
		t.Errorf("got %d bytes for no note", n.Size())
	}
}
