package agent

import (
	"bytes"

	"github.com/standpipe/standpipe/shipper/sink/file"
	"github.com/standpipe/standpipe/wal"
)

// The state of a cursor belongs to the sink that stored it. A sink that takes ranges stores its state behind a tag: its type
// and a zero byte. The state of a file destination has no tag. So no sink reads the state of another type, after a
// destination has changed its type.

// taggedCursor is the cursor of a destination whose sink takes ranges.
type taggedCursor struct {
	*wal.Cursor
	typ string
}

// State returns the state that a sink of this type stored; nil: there is none.
func (c taggedCursor) State() []byte {
	typ, state := splitState(c.Cursor.State())
	if typ != c.typ || len(state) == 0 {
		return nil
	}
	return state
}

func (c taggedCursor) Settle(step wal.Settlement) error {
	if step.State != nil {
		step.State = append(append([]byte(c.typ), 0), step.State...)
	}
	return c.Cursor.Settle(step)
}

// splitState returns the type in the tag of a cursor's state, and the rest. A state without a tag is of type file.
func splitState(state []byte) (typ string, rest []byte) {
	if tag, rest, tagged := bytes.Cut(state, []byte{0}); tagged {
		if _, known := destinationTypes[string(tag)]; known {
			return string(tag), rest
		}
	}
	return "file", state
}

// endStateOfOthers finishes the files that the destination left when it was of type file, and clears the state of another
// type. keepsState: the destination is of type file.
func endStateOfOthers(s *sinkSpec, keepsState bool) {
	state := s.cursor.State()
	typ, _ := splitState(state)
	switch {
	case len(state) == 0 || typ == s.Type:
	case typ == "file":
		state = file.Finish(file.Options{
			Path: ".", Stream: s.eventStream, State: state, Checkpoint: s.cursor.Stat().Checkpoint, Logger: s.logger,
		})
		s.cursor.Settle(wal.Settlement{State: state})
	case keepsState:
		s.cursor.Settle(wal.Settlement{State: []byte{}})
	}
}
