package intake

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"unicode/utf8"

	"google.golang.org/grpc/codes"

	"github.com/standpipe/standpipe/agent/ingest/internal/jsonscan"
	standpipev1 "github.com/standpipe/standpipe/proto/standpipe/v1"
	"github.com/standpipe/standpipe/wal"
)

const (
	// maxKeyChars is Kinesis's limit of a partition key in Unicode characters (Kinesis Data
	// Streams API Reference, PutRecordsRequestEntry, November 2026).
	maxKeyChars    = 256
	maxProducerLen = 128 // bytes
	maxQuoted      = 128 // bytes of a name that an error text repeats
)

// lookup returns the rules of a stream, or the rejection of its name.
func lookup(streams Streams, name string) (StreamRules, *Rejection) {
	if name == "" {
		return StreamRules{}, &Rejection{
			Code: codes.InvalidArgument, Reason: ReasonNoStream, Event: NoEvent,
			Text: "the name of the stream is missing",
		}
	}
	rules, err := streams.Lookup(name)
	switch {
	case err == nil:
		return rules, nil
	case errors.Is(err, ErrInvalidName):
		return rules, &Rejection{
			Code: codes.InvalidArgument, Reason: ReasonNoStream, Event: NoEvent,
			Text: fmt.Sprintf("%v %s: allowed are 1 to 128 characters of A-Z a-z 0-9 . _ - and a first one that is neither . nor -",
				ErrInvalidName, QuoteName(name)),
		}
	case errors.Is(err, ErrNoStream):
		return rules, &Rejection{
			Code: codes.NotFound, Reason: ReasonNoStream, Event: NoEvent,
			Text: noStreamText(name, err),
		}
	case errors.Is(err, ErrTooManyStreams):
		return rules, &Rejection{
			Code: codes.ResourceExhausted, Reason: ReasonTooManyStreams, Event: NoEvent, Retry: retryOperator,
			Text: err.Error(),
		}
	}
	return rules, Unavailable("stream %s: %v: nothing was stored", QuoteName(name), err)
}

// noStreamText returns the text of Lookup, unless it repeats a long name, which may hold anything.
func noStreamText(name string, err error) string {
	if len(name) > maxQuoted {
		return fmt.Sprintf("%v %s", ErrNoStream, QuoteName(name))
	}
	return err.Error()
}

// checkRequest returns the rejection of a request that breaks a rule of the contract, apart from its events.
func checkRequest(b *wal.Batch, ack standpipev1.Ack) *Rejection {
	if len(b.Events) == 0 {
		return Invalid("the batch has 0 events; at least 1 is needed")
	}
	if r := checkAck(ack); r != nil {
		return r
	}
	return checkProducer(b)
}

// checkEvents returns the rejection of the first event that breaks a rule of the contract or of its stream.
func checkEvents(events []wal.Event, rules *StreamRules) *Rejection {
	for i := range events {
		if r := checkEvent(&events[i], rules); r != nil {
			r.Event = i
			return r
		}
	}
	return nil
}

func checkAck(ack standpipev1.Ack) *Rejection {
	if ack < standpipev1.Ack_ACK_UNSPECIFIED || ack > standpipev1.Ack_ACK_DELIVERED {
		return Invalid("ack %d is unknown; 0 (the stream's default), 1 (accepted), 2 (durable) "+
			"and 3 (delivered) are allowed", ack)
	}
	return nil
}

func checkProducer(b *wal.Batch) *Rejection {
	last := math.MaxUint64 - uint64(len(b.Events))
	switch {
	case b.ProducerID == "" && b.ProducerSequence == 0 && b.ProducerNext == 0:
		return nil
	case b.ProducerID == "":
		return Invalid("producer_sequence %d comes without a producer_id; both or neither are allowed",
			b.ProducerSequence)
	case len(b.ProducerID) > maxProducerLen:
		return Invalid("producer_id has %d bytes; at most %d are allowed", len(b.ProducerID), maxProducerLen)
	case !utf8.ValidString(b.ProducerID):
		return Invalid("producer_id of %d bytes is not valid UTF-8", len(b.ProducerID))
	case b.ProducerSequence == 0:
		return Invalid("producer_id comes without a producer_sequence; sequences start at 1")
	case b.ProducerSequence > last:
		return Invalid("producer_sequence %d is too high for %d events; at most %d is allowed",
			b.ProducerSequence, len(b.Events), last)
	case b.ProducerNext != 0 && b.ProducerNext < b.ProducerSequence+uint64(len(b.Events)):
		return Invalid("producer_next %d is too low for %d events from producer_sequence %d; at least %d is allowed",
			b.ProducerNext, len(b.Events), b.ProducerSequence, b.ProducerSequence+uint64(len(b.Events)))
	}
	return nil
}

func checkEvent(e *wal.Event, rules *StreamRules) *Rejection {
	if r := checkKey(e.Key); r != nil {
		return r
	}
	if r := checkSize(e, rules); r != nil {
		return r
	}
	return checkFormat(e.Data, rules.Format)
}

func checkKey(key string) *Rejection {
	if !utf8.ValidString(key) {
		return Invalid("partition_key of %d bytes is not valid UTF-8", len(key))
	}
	if 0 < len(key) && len(key) <= maxKeyChars {
		return nil
	}
	if n := utf8.RuneCountInString(key); n < 1 || n > maxKeyChars {
		return Invalid("partition_key has %d characters; 1 to %d are allowed", n, maxKeyChars)
	}
	return nil
}

func checkSize(e *wal.Event, rules *StreamRules) *Rejection {
	size := e.Size()
	if limit := rules.MaxEventSize; limit > 0 && size > limit {
		if size > len(e.Data) {
			return TooLarge("data has %d bytes and the attributes %d; max_event_size allows %d together",
				len(e.Data), size-len(e.Data), limit)
		}
		return TooLarge("data has %d bytes; max_event_size allows %d", len(e.Data), limit)
	}
	if rules.Room == nil {
		return nil
	}
	limit, destination := rules.Room(e)
	if e.Encoded != nil && len(e.Data)+mostEscaped*(len(e.Encoded)-len(e.Data)) > limit {
		e.DecodeAttributes() // which an envelope holds
		limit, destination = rules.Room(e)
		e.Attributes = nil // a map of them takes many times their encoded size
	}
	if len(e.Data) > limit {
		return TooLarge("data has %d bytes; under a partition_key of %d bytes destination %s takes %d",
			len(e.Data), len(e.Key), destination, max(limit, 0))
	}
	return nil
}

// mostEscaped is the largest number of bytes of an envelope for one byte of an encoded attribute.
const mostEscaped = 6

// TooLarge returns the rejection of a request or an event that is too large.
func TooLarge(format string, args ...any) *Rejection {
	r := Invalid(format, args...)
	r.Reason = ReasonTooLarge
	return r
}

func checkFormat(data []byte, format string) *Rejection {
	if format == FormatBytes {
		return nil
	}
	if at := LineBreak(data); at >= 0 {
		return WrongFormat("data of %d bytes has a line break at byte %d; the stream's format %s takes one line",
			len(data), at, format)
	}
	if format != FormatJSON {
		return nil
	}
	if fault, ok := jsonscan.Valid(data); !ok {
		return WrongFormat("data of %d bytes is not valid JSON from byte %d on%s; the stream's format is json",
			len(data), fault, jsonscan.DescribeMark(data, fault))
	}
	if !utf8.Valid(data) { // RFC 8259, 8.1: many readers stop at such a line
		return WrongFormat("data of %d bytes is not valid UTF-8; the stream's format is json", len(data))
	}
	return nil
}

// WrongFormat returns the rejection of an event that is not of the format of its stream.
func WrongFormat(format string, args ...any) *Rejection {
	r := Invalid(format, args...)
	r.Reason = ReasonFormat
	return r
}

// LineBreak returns the index of the first line feed or carriage return, or -1. Both count: readers of lines often end a
// line at either.
func LineBreak(data []byte) int {
	lf := bytes.IndexByte(data, '\n')
	if lf >= 0 {
		data = data[:lf]
	}
	if cr := bytes.IndexByte(data, '\r'); cr >= 0 {
		return cr
	}
	return lf
}

// QuoteName quotes a name for an error text. It replaces a long name, which may hold anything, by its size.
func QuoteName(name string) string {
	if len(name) > maxQuoted {
		return fmt.Sprintf("a name of %d bytes", len(name))
	}
	return fmt.Sprintf("%q", name)
}
