package destination

import (
	"bytes"

	"github.com/standpipe/standpipe/shipper/sink/file"
	"github.com/standpipe/standpipe/wal"
)

// The state of a cursor belongs to the sink that stored it. A sink that takes ranges stores its state behind a tag: its type
// and a zero byte. The state of a file destination has no tag. So no sink reads the state of another type, after a
// destination has changed its type.

// TaggedCursor is the cursor of a destination whose sink takes ranges.
type TaggedCursor struct {
	*wal.Cursor
	Type string // the destination's
}

// State returns the state that a sink of this type stored; nil: there is none.
func (c TaggedCursor) State() []byte {
	typ, state := splitState(c.Cursor.State())
	if typ != c.Type || len(state) == 0 {
		return nil
	}
	return state
}

// Settle is Settle of a wal.Cursor. It adds the tag to the state.
func (c TaggedCursor) Settle(step wal.Settlement) error {
	if step.State != nil {
		step.State = append(append([]byte(c.Type), 0), step.State...)
	}
	return c.Cursor.Settle(step)
}

// splitState returns the type in the tag of a cursor's state, and the rest. A state without a tag is of type file.
func splitState(state []byte) (typ string, rest []byte) {
	if tag, rest, tagged := bytes.Cut(state, []byte{0}); tagged {
		if _, known := types[string(tag)]; known {
			return string(tag), rest
		}
	}
	return "file", state
}

// endStateOfOthers finishes the files that the destination left when it was of type file, and clears the state of another
// type. keepsState: the destination is of type file.
func endStateOfOthers(s *Spec, keepsState bool) {
	state := s.Cursor.State()
	typ, _ := splitState(state)
	switch {
	case len(state) == 0 || typ == s.Type:
	case typ == "file":
		state = file.Finish(file.Options{
			Path: ".", Stream: s.EventStream, State: state, Checkpoint: s.Cursor.Stat().Checkpoint, Logger: s.Logger,
		})
		s.Cursor.Settle(wal.Settlement{State: state})
	case keepsState:
		s.Cursor.Settle(wal.Settlement{State: []byte{}})
	}
}
