package receipt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"

	"github.com/standpipe/standpipe/wal/internal/segment"
)

// The key of an entry of the state has the owner and the ID as a decimal number. The value has the sum and the number of the
// receipt, and the offset of the batch's first event, each of 8 bytes. The rest of it is the name of the stream. Older logs have
// receipts without the offset and the name.

const (
	valueLength = 8 + 8 + 8 // without the name
	oldLength   = 8 + 8
)

func key(owner string, id uint64) []byte {
	return segment.StateKey(segment.StateReceipt, owner, idText(id))
}

func idText(id uint64) string { return strconv.FormatUint(id, 10) }

// entryBytes returns the bytes that the entry of a receipt takes of the state.
func entryBytes(r *Receipt) int64 {
	return segment.StatePages(valueLength+len(r.Stream), r.Owner, idText(r.ID))
}

func put(e *entry, state *segment.StateWriter) error {
	return state.Put(key(e.Owner, e.ID), e.encode())
}

func (e *entry) encode() []byte {
	value := make([]byte, 0, valueLength+len(e.Stream))
	value = binary.BigEndian.AppendUint64(value, e.Sum)
	value = binary.BigEndian.AppendUint64(value, e.number)
	if e.Stream == "" { // it is that of an older log
		return value
	}
	return append(binary.BigEndian.AppendUint64(value, e.First), e.Stream...)
}

func (e *entry) decode(owner, id string, value []byte) (err error) {
	if e.ID, err = strconv.ParseUint(id, 10, 64); err != nil {
		return fmt.Errorf("the ID of a receipt: %w", err)
	}
	if owner == "" || len(value) != oldLength && len(value) <= valueLength {
		return errors.New("a receipt is malformed")
	}
	e.Owner, e.Sum, e.number = owner, binary.BigEndian.Uint64(value), binary.BigEndian.Uint64(value[8:])
	if len(value) > valueLength {
		e.First, e.Stream = binary.BigEndian.Uint64(value[16:]), string(value[valueLength:])
	}
	return nil
}

// Check returns the fault of an entry of the state.
func Check(owner, id string, value []byte) error { return new(entry).decode(owner, id, value) }
