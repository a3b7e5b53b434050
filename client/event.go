package client

import (
	"time"

	"google.golang.org/protobuf/proto"

	standpipev1 "github.com/standpipe/standpipe/proto/standpipe/v1"
)

// Event is one entry of a stream.
type Event struct {
	// Key is the partition key, 1 to 256 Unicode characters: events of one key stay in order.
	Key string
	// Data is passed on as it is. Whether it has to be one line, or JSON, is up to the stream's format.
	Data []byte
	// Time is when it happened. Zero: the agent's clock when it receives the event.
	Time time.Time
	// Attributes are a few tags beside the data.
	Attributes map[string]string
}

// Ack is how far events must have come before they are answered.
type Ack int32

// The levels, from the weakest to the strongest, after the stream's own.
const (
	AckDefault   = Ack(standpipev1.Ack_ACK_UNSPECIFIED) // the stream's level: durable unless configured otherwise
	AckAccepted  = Ack(standpipev1.Ack_ACK_ACCEPTED)    // in the agent's memory: a crash may lose it; the offset is not known
	AckDurable   = Ack(standpipev1.Ack_ACK_DURABLE)     // synced to the agent's disk
	AckDelivered = Ack(standpipev1.Ack_ACK_DELIVERED)   // settled by every destination of the stream
)

// weigh is the share of an event in a Publisher's buffer: its bytes, and the bytes kept beside them.
func (e *Event) weigh() int64 {
	n := len(e.Key) + len(e.Data) + 64
	for name, value := range e.Attributes {
		n += len(name) + len(value) + 16
	}
	return int64(n)
}

// fill copies e into m. The bytes are shared.
func (e *Event) fill(m *standpipev1.Event) {
	m.PartitionKey, m.Data, m.Attributes, m.TimeUnixNano = e.Key, e.Data, e.Attributes, 0
	if !e.Time.IsZero() {
		m.TimeUnixNano = e.Time.UnixNano()
	}
}

func messages(events []Event) []*standpipev1.Event {
	all := make([]*standpipev1.Event, len(events))
	for i := range events {
		all[i] = new(standpipev1.Event)
		events[i].fill(all[i])
	}
	return all
}

// decode is the inverse of batch.add, for the event that was refused.
func decode(encoded []byte) Event {
	var m standpipev1.AppendRequest
	if err := proto.Unmarshal(encoded, &m); err != nil || len(m.Events) != 1 {
		return Event{}
	}
	e := Event{Key: m.Events[0].PartitionKey, Data: m.Events[0].Data, Attributes: m.Events[0].Attributes}
	if at := m.Events[0].TimeUnixNano; at != 0 {
		e.Time = time.Unix(0, at)
	}
	return e
}
