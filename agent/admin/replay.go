package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"time"
)

// maxReplayBytes bounds the body of a request for a replay.
const maxReplayBytes = 1 << 20

var (
	// ErrNoReplay is wrapped by the error for a destination that never had a replay.
	ErrNoReplay = errors.New("no replay")
	// ErrRange is wrapped by the error for a range that cannot be replayed.
	ErrRange = errors.New("the range cannot be replayed")
)

// Replays sends ranges of events to a destination again. Its methods are called concurrently.
type Replays interface {
	// Start begins a replay, and returns once its range is known to begin in the log. Errors: ErrNoDestination, ErrConflict,
	// ErrUnavailable, ErrRange.
	Start(ctx context.Context, stream, destination string, r ReplayRequest) (Replay, error)
	// Get returns the running replay of a destination, or its latest. Errors: ErrNoReplay.
	Get(stream, destination string) (Replay, error)
	// Cancel ends the running replay of a destination, and returns its result. Errors: ErrNoReplay.
	Cancel(stream, destination string) (Replay, error)
}

// ReplayRequest is the range of a replay. Exactly one of the fields From is set.
type ReplayRequest struct {
	FromOffset uint64    `json:"from_offset,omitzero"`
	FromTime   time.Time `json:"from_time,omitzero"` // the first event of this time or later, if the times ascend
	FromOldest bool      `json:"from_oldest,omitzero"`

	// The end is exclusive. Default: the end of the stream at the start of the replay.
	ToOffset uint64    `json:"to_offset,omitzero"`
	ToTime   time.Time `json:"to_time,omitzero"`

	Keys []string `json:"keys,omitempty"` // only events of these partition keys; none: all
}

// ReplayState is the state of a replay in one word.
type ReplayState string

// The states of a replay.
const (
	ReplayRunning   ReplayState = "running"
	ReplayDone      ReplayState = "done"
	ReplayCancelled ReplayState = "cancelled"
	ReplayFailed    ReplayState = "failed"
)

// Replay is the progress of a replay, or its result.
type Replay struct {
	Stream      string      `json:"stream"`
	Destination string      `json:"destination"`
	State       ReplayState `json:"state"`
	From        uint64      `json:"from"` // offsets of the range
	To          uint64      `json:"to"`   // exclusive
	Keys        []string    `json:"keys,omitempty"`

	Offset   uint64 `json:"offset"`   // every wanted event of the range below it was sent, or was rejected
	Events   uint64 `json:"events"`   // that the destination took
	Bytes    uint64 `json:"bytes"`    // of their payloads
	Rejected uint64 `json:"rejected"` // events that the destination rejected
	// EventsPerSecond is the mean of the whole time.
	EventsPerSecond float64 `json:"events_per_second"`

	Waits          string    `json:"waits,omitempty"`           // what a running replay waits for
	FirstRejection string    `json:"first_rejection,omitempty"` // the reason
	Error          string    `json:"error,omitempty"`           // why it failed or was cancelled
	Started        time.Time `json:"started"`
	Ended          time.Time `json:"ended,omitzero"`
}

func (s *Server) offerReplays(r Replays) {
	const path = " /v1/streams/{stream}/destinations/{destination}/replay"
	s.mux.HandleFunc("POST"+path, notFromPages(s.startReplay(r)))
	for method, do := range map[string]func(stream, destination string) (Replay, error){"GET": r.Get, "DELETE": r.Cancel} {
		s.mux.HandleFunc(method+path, notFromPages(func(w http.ResponseWriter, q *http.Request) {
			replay, err := do(q.PathValue("stream"), q.PathValue("destination"))
			s.respond(w, replay, err)
		}))
	}
}

func (s *Server) startReplay(r Replays) http.HandlerFunc {
	return func(w http.ResponseWriter, q *http.Request) {
		if kind, _, err := mime.ParseMediaType(q.Header.Get("Content-Type")); err != nil || kind != "application/json" {
			http.Error(w, "Content-Type: want application/json", http.StatusUnsupportedMediaType)
			return
		}
		var request ReplayRequest
		d := json.NewDecoder(http.MaxBytesReader(w, q.Body, maxReplayBytes))
		d.DisallowUnknownFields()
		if err := d.Decode(&request); err != nil {
			http.Error(w, fmt.Sprintf(`want {"from_offset": 1} or from_time or from_oldest, with to_offset or to_time, and keys: %v`, err), http.StatusBadRequest)
			return
		}
		replay, err := r.Start(q.Context(), q.PathValue("stream"), q.PathValue("destination"), request)
		s.respond(w, replay, err)
	}
}
