package segment

// Event is the unit that a producer sends. The log stores Key, Data, Time and Attributes as they are.
type Event struct {
	Key        string            // the partition key: events of one key stay in order
	Data       []byte            // the payload; the log keeps no reference to it after Append
	Time       int64             // when it happened, in Unix nanoseconds
	Attributes map[string]string // tags of the event, not part of Data

	// Encoded is the event as it came over the wire. Only IndexEvent sets it; Key and Data are then parts of it. An
	// append stores it unchanged, and adds Time if it has none.
	Encoded []byte
	timed   bool // Encoded has a time other than 0
	tagged  int  // bytes of the attributes' names and values in Encoded

	// Offset and Lane are set by the log when it reads an event; an append ignores them.
	Offset uint64
	Lane   uint8

	// Timeline is the number of the timeline that Time was taken from: see package timeline. 0: the clock was set, or the
	// producer has set Time.
	Timeline uint32
}

// Size returns the bytes of the payload and of the attributes, names and values. The limits of an event's size and of
// a producer's rate apply to this number. The log's counts of a stream include only the bytes of payloads.
func (e *Event) Size() int {
	n := len(e.Data)
	if e.Encoded != nil {
		return n + e.tagged
	}
	for name, value := range e.Attributes {
		n += len(name) + len(value)
	}
	return n
}

// EventMemory is the number of bytes that an event in memory counts as in addition to its content.
const EventMemory = 96

// The memory that decoded attributes occupy in addition to their bytes: a map of up to 8 attributes, and at most so
// much for each attribute.
const (
	attributesMemory = 336
	attributeMemory  = 76
)

// Memory returns about how many bytes of memory an event occupies that Read has returned, with its key, payload and
// attributes.
func (e *Event) Memory() int {
	n := EventMemory + len(e.Key) + len(e.Data)
	if len(e.Attributes) == 0 {
		return n
	}
	n += attributesMemory
	for name, value := range e.Attributes {
		n += attributeMemory + len(name) + len(value)
	}
	return n
}
