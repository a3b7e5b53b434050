package grpcin

import (
	"math"
	"strings"
	"unicode/utf8"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/standpipe/standpipe/agent/ingest/internal/budget"
	"github.com/standpipe/standpipe/agent/ingest/internal/intake"
	standpipev1 "github.com/standpipe/standpipe/proto/standpipe/v1"
	"github.com/standpipe/standpipe/wal"
	"github.com/standpipe/standpipe/wal/timeline"
)

// wireReader reads an AppendRequest in the pieces in which it has arrived, and leaves its events encoded. Unusual
// encodings are left to proto.Unmarshal, so a request has one meaning however it is read.
type wireReader struct {
	pieces mem.BufferSlice // after piece
	piece  []byte
	left   int    // bytes of piece and pieces
	joined []byte // parts that span pieces

	decoding *budget.Budget // of the listener, for messages that are decoded by package proto
	decoded  int64          // acquired of it
}

// The fields of AppendRequest.
const (
	fieldOfStream           protowire.Number = 1
	fieldOfEvents           protowire.Number = 2
	fieldOfAck              protowire.Number = 3
	fieldOfProducerID       protowire.Number = 4
	fieldOfProducerSequence protowire.Number = 5
	fieldOfProducerNext     protowire.Number = 6
)

// maxJoined bounds the buffer for parts that span pieces that is kept for the next request.
const maxJoined = 256 << 10

// maxEvents bounds the events of one request: an empty event has two bytes on the wire and a hundred in memory.
const maxEvents = 256 << 10

// count returns the number of events in the message, which is counted as far as it is well-formed.
func (w *wireReader) count(message mem.BufferSlice) (n int) {
	if len(message) == 1 {
		return eventsIn(message[0].ReadOnlyData())
	}
	w.begin(message)
	for w.left > 0 {
		tag, ok := w.varint()
		if !ok {
			return n
		}
		num, typ := protowire.DecodeTag(tag)
		if typ != protowire.VarintType && typ != protowire.BytesType { // of no field of AppendRequest
			return eventsIn(message.Materialize())
		}
		value, ok := w.varint()
		switch {
		case !ok || typ == protowire.BytesType && value > uint64(w.left):
			return n
		case typ == protowire.BytesType:
			w.drop(int(value))
			if num == fieldOfEvents {
				n++
			}
		}
	}
	return n
}

// eventsIn is count for a message in one piece.
func eventsIn(b []byte) (n int) {
	for len(b) > 0 {
		num, typ, size := protowire.ConsumeTag(b)
		if size < 0 {
			return n
		}
		b = b[size:]
		if size = protowire.ConsumeFieldValue(num, typ, b); size < 0 {
			return n
		}
		if num == fieldOfEvents && typ == protowire.BytesType {
			n++
		}
		b = b[size:]
	}
	return n
}

// acquire acquires the budget for the events and attributes in b, which encodes an m that is to be decoded.
func (w *wireReader) acquire(b []byte, m proto.Message) *intake.Rejection {
	n := int64(intake.CountMessages(b, m.ProtoReflect().Descriptor(), protowire.DefaultRecursionLimit, math.MaxInt))
	switch total := w.decoded + n; {
	case total > intake.MaxDecoded:
		return intake.TooLarge("the request has %d events and attributes; %d are allowed", total, intake.MaxDecoded)
	case !w.decoding.Acquire(n):
		return intake.ErrOverBudget
	}
	w.decoded += n
	return nil
}

// free releases the budget of decoded messages.
func (w *wireReader) free() {
	w.decoding.Release(w.decoded)
	w.decoded = 0
}

func (w *wireReader) begin(message mem.BufferSlice) {
	w.pieces, w.piece, w.left, w.joined = message, nil, message.Len(), w.joined[:0]
}

// read decodes the message into a request. Keys and payloads lie in the message and in w until the next read. Events
// without a time get now.
func (w *wireReader) read(message mem.BufferSlice, into *intake.Request, now timeline.Stamp) *intake.Rejection {
	if cap(w.joined) > maxJoined {
		w.joined = nil
	}
	w.begin(message)
	for w.left > 0 {
		plain, r := w.field(into, now)
		if r != nil {
			return r
		}
		if !plain {
			into.Batch.Events = into.Batch.Events[:0]
			return w.decodeRequest(message, into, now)
		}
	}
	return nil
}

// field reads one field.
func (w *wireReader) field(into *intake.Request, now timeline.Stamp) (plain bool, r *intake.Rejection) {
	tag, ok := w.varint()
	if !ok {
		return false, nil
	}
	num, typ := protowire.DecodeTag(tag)
	switch {
	case num == fieldOfEvents && typ == protowire.BytesType:
		b, ok := w.bytes()
		if !ok {
			return false, nil
		}
		return true, w.addEvent(into, b, now)
	case (num == fieldOfStream || num == fieldOfProducerID) && typ == protowire.BytesType:
		b, ok := w.bytes()
		if !ok || !utf8.Valid(b) {
			return false, nil
		}
		if num == fieldOfStream {
			into.Batch.Stream = string(b)
		} else {
			into.Batch.ProducerID = string(b)
		}
		return true, nil
	case (num == fieldOfAck || num == fieldOfProducerSequence || num == fieldOfProducerNext) && typ == protowire.VarintType:
		n, ok := w.varint()
		switch num {
		case fieldOfAck:
			into.Ack = standpipev1.Ack(n)
		case fieldOfProducerSequence:
			into.Batch.ProducerSequence = n
		default:
			into.Batch.ProducerNext = n
		}
		return ok, nil
	}
	return false, nil
}

// varint reads a number. ok is false when there is none.
func (w *wireReader) varint() (n uint64, ok bool) {
	if len(w.piece) == 0 {
		w.advance()
	}
	if len(w.piece) > 0 && w.piece[0] < 0x80 {
		n = uint64(w.piece[0])
		w.skip(1)
		return n, true
	}
	const longest = 10
	b := w.peek(min(longest, w.left))
	n, length := protowire.ConsumeVarint(b)
	if length < 0 {
		return 0, false
	}
	w.drop(length)
	return n, true
}

// bytes reads a length and as many bytes.
func (w *wireReader) bytes() (b []byte, ok bool) {
	n, ok := w.varint()
	if !ok || n > uint64(w.left) {
		return nil, false
	}
	b = w.peek(int(n))
	w.drop(int(n))
	return b, true
}

// peek returns the next n bytes, joined if they span pieces.
func (w *wireReader) peek(n int) []byte {
	if len(w.piece) == 0 {
		w.advance()
	}
	if n <= len(w.piece) {
		return w.piece[:n:n]
	}
	start := len(w.joined)
	w.joined = append(w.joined, w.piece...)
	for _, p := range w.pieces {
		more := p.ReadOnlyData()
		w.joined = append(w.joined, more[:min(len(more), n-(len(w.joined)-start))]...)
		if len(w.joined)-start == n {
			break
		}
	}
	return w.joined[start:len(w.joined):len(w.joined)]
}

// drop skips the next n bytes.
func (w *wireReader) drop(n int) {
	for n > len(w.piece) {
		n -= len(w.piece)
		w.skip(len(w.piece))
		w.advance()
	}
	w.skip(n)
}

func (w *wireReader) skip(n int) {
	w.piece = w.piece[n:]
	w.left -= n
}

// advance moves to the next piece if there is one.
func (w *wireReader) advance() {
	for len(w.piece) == 0 && len(w.pieces) > 0 {
		w.piece, w.pieces = w.pieces[0].ReadOnlyData(), w.pieces[1:]
	}
}

// addEvent adds the event that b encodes.
func (w *wireReader) addEvent(r *intake.Request, b []byte, now timeline.Stamp) *intake.Rejection {
	e, plain := wal.IndexEvent(b)
	if !plain {
		m := new(standpipev1.Event)
		if refused := w.acquire(b, m); refused != nil {
			return refused
		}
		if err := proto.Unmarshal(b, m); err != nil {
			return intake.InvalidEvent(len(r.Batch.Events), "%d bytes are no valid encoding of it: %s", len(b), wireFault(err))
		}
		e = decoded(m)
	}
	now.On(&e)
	r.Batch.Events = append(r.Batch.Events, e)
	return nil
}

func decoded(m *standpipev1.Event) wal.Event {
	return wal.Event{Key: m.GetPartitionKey(), Data: m.GetData(), Time: m.GetTimeUnixNano(), Attributes: m.GetAttributes()}
}

// wireFault returns the text of an error of proto.Unmarshal without its prefix, which contains one of two kinds of
// space.
func wireFault(err error) string {
	return strings.TrimLeft(strings.TrimPrefix(err.Error(), "proto:"), " \u00a0")
}

// decodeRequest is read by way of proto.Unmarshal.
func (w *wireReader) decodeRequest(message mem.BufferSlice, into *intake.Request, now timeline.Stamp) *intake.Rejection {
	m := new(standpipev1.AppendRequest)
	b := message.Materialize()
	w.free() // the budget of events that are decoded again
	if refused := w.acquire(b, m); refused != nil {
		return refused
	}
	if err := proto.Unmarshal(b, m); err != nil {
		return intake.Invalid("the request of %d bytes is no valid encoding of AppendRequest: %s", message.Len(), wireFault(err))
	}
	into.Ack = m.Ack
	into.Batch.Stream = m.Stream
	into.Batch.ProducerID, into.Batch.ProducerSequence, into.Batch.ProducerNext = m.ProducerId, m.ProducerSequence, m.ProducerNext
	for _, e := range m.Events {
		event := decoded(e)
		now.On(&event)
		into.Batch.Events = append(into.Batch.Events, event)
	}
	return nil
}
