package admin

import (
	"context"
	"errors"
	"fmt"
	"unicode/utf8"
)

var (
	// ErrNoLetter is wrapped by Dead.Show when no dead letter has the id.
	ErrNoLetter = errors.New("no such dead letter")
	// ErrUnavailable is wrapped by Dead.Requeue when no event can be appended, for example because the agent is stopping.
	ErrUnavailable = errors.New("nothing can be appended now")
)

// Dead gives access to the dead letters: events that a destination rejected for good. Its methods are called concurrently.
type Dead interface {
	// List returns letters in the order of their IDs.
	List(ctx context.Context, q DeadQuery) (DeadList, error)
	// Show returns one letter.
	Show(ctx context.Context, id uint64) (DeadLetter, error)
	// Requeue appends the events of the chosen letters to their streams again, for all destinations, and removes each letter
	// after its event is synced: a crash in between leaves both. A letter whose event is not appended stays, and the outcome
	// lists it.
	Requeue(ctx context.Context, c DeadChoice) (DeadOutcome, error)
	// Drop removes the chosen letters.
	Drop(ctx context.Context, c DeadChoice) (DeadOutcome, error)
}

// DeadQuery selects letters for a list. An empty text matches all.
type DeadQuery struct {
	Stream, Destination string
	After               uint64 // only larger IDs
	Limit               int    // 1 to MaxDeadList
}

// Limits of a list and of a choice.
const (
	MaxDeadList = 1000
	MaxDeadIDs  = 1000
)

// DeadList is one page of letters.
type DeadList struct {
	Letters []DeadStat `json:"letters"`
	Next    uint64     `json:"next"` // the After of the next page; 0: no more
}

// DeadStat is one letter without its data.
type DeadStat struct {
	ID          uint64 `json:"id"`
	Stream      string `json:"stream"`
	Destination string `json:"destination"` // that rejected the event
	Offset      uint64 `json:"offset"`
	Key         string `json:"key"`
	Bytes       int    `json:"bytes"` // of its data
	Reason      string `json:"reason"`
	RefusedAt   Time   `json:"refused_at"`
	Damage      string `json:"damage,omitempty"` // why the letter cannot be read; only ID is set then
}

// DeadLetter is one letter with its data, in Data or DataBase64.
type DeadLetter struct {
	DeadStat
	Time       Time              `json:"time"` // the event's
	Attributes map[string]string `json:"attributes"`
	Data       *string           `json:"data,omitempty"` // when it is UTF-8
	DataBase64 []byte            `json:"data_base64,omitempty"`
}

// SetData sets Data, or DataBase64 if data is not UTF-8.
func (l *DeadLetter) SetData(data []byte) {
	if utf8.Valid(data) {
		text := string(data)
		l.Data, l.DataBase64 = &text, nil
		return
	}
	l.Data, l.DataBase64 = nil, data
}

// RawData returns the data as sent by the producer.
func (l *DeadLetter) RawData() []byte {
	if l.Data != nil {
		return []byte(*l.Data)
	}
	return l.DataBase64
}

// DeadChoice selects the letters to requeue or to drop: those of IDs, or else those of a stream, of a destination or of
// both, or all.
type DeadChoice struct {
	IDs         []uint64 `json:"ids,omitempty"`
	Stream      string   `json:"stream,omitempty"`
	Destination string   `json:"destination,omitempty"`
	All         bool     `json:"all,omitempty"`

	// Without IDs: the IDs larger than After and up to Until. Until 0 means the last present letter, so that an event which is
	// rejected again meanwhile is not requeued for ever.
	After uint64 `json:"after,omitempty"`
	Until uint64 `json:"until,omitempty"`
}

// check returns an error for an invalid choice.
func (c *DeadChoice) check() error {
	some := c.Stream != "" || c.Destination != ""
	switch {
	case len(c.IDs) > MaxDeadIDs:
		return fmt.Errorf("%d ids; at most %d are allowed", len(c.IDs), MaxDeadIDs)
	case len(c.IDs) > 0 && (some || c.All || c.After > 0 || c.Until > 0):
		return errors.New("ids come with nothing else")
	case some && c.All:
		return errors.New("all comes without stream and destination")
	case len(c.IDs) == 0 && !some && !c.All:
		return errors.New("no letters are chosen: ids, stream, destination or all")
	}
	return nil
}

// DeadOutcome is the result of Requeue or Drop.
type DeadOutcome struct {
	Requeued int           `json:"requeued"`
	Dropped  int           `json:"dropped"`
	Refused  []DeadRefusal `json:"refused"` // letters that stay or do not exist
	Stopped  string        `json:"stopped"` // why the letters after that were not tried; empty: all were

	// The After and Until of the next request, for a choice that took too long for one; Next 0: done.
	Next  uint64 `json:"next"`
	Until uint64 `json:"until"`
}

// DeadRefusal is a letter that was not requeued or dropped.
type DeadRefusal struct {
	ID     uint64 `json:"id"`
	Reason string `json:"reason"`
}
