package intake

import (
	"errors"
	"time"

	standpipev1 "github.com/standpipe/standpipe/proto/standpipe/v1"
	"github.com/standpipe/standpipe/wal"
)

// ErrNoStream is wrapped by Streams.Lookup when no stream block matches the name.
var ErrNoStream = errors.New("no stream block matches")

// ErrInvalidName is returned by Streams.Lookup for a name that no stream can have.
var ErrInvalidName = errors.New("invalid stream name")

// ErrTooManyStreams is wrapped by Streams.Lookup when the pattern that matches the name has as many streams as it may.
var ErrTooManyStreams = errors.New("too many streams")

// Streams is the interface to the configured streams. Lookup is called once a request, from many goroutines.
type Streams interface {
	// Lookup returns the rules of the stream of that name, and changes nothing: the request may still be rejected.
	// A stream that is new begins with the first batch that Log.Submit takes. Errors: one that wraps ErrInvalidName, ErrNoStream or
	// ErrTooManyStreams; any other means that the stream can't be used just now.
	Lookup(name string) (StreamRules, error)
}

// The formats of a stream's events.
const (
	FormatJSON  = "json"  // valid JSON on one line
	FormatText  = "text"  // one line
	FormatBytes = "bytes" // anything
)

// StreamRules are the rules of a stream for its events.
type StreamRules struct {
	Format       string // FormatJSON, FormatText or FormatBytes
	MaxEventSize int    // bytes of an event's data and attributes; 0: no limit of the stream's own

	// Room returns the bytes of data that every destination of the stream can take for e to fit, under its
	// partition key and beside all else that it carries, and the destination that takes the least.
	// nil: no limit.
	Room func(e *wal.Event) (limit int, destination string)

	// Ack is the level of a request that names none; ACK_UNSPECIFIED means ACK_DURABLE.
	Ack standpipev1.Ack

	// CommitLinger and AcceptedLinger are the longest waits of a request for others that share its commit: the second one
	// is that of requests with the level accepted.
	CommitLinger, AcceptedLinger time.Duration
}
