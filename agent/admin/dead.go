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
	// ErrUnavailable is wrapped by Dead.Requeue when nothing can be appended, for example because
	// the agent is stopping.
	ErrUnavailable = errors.New("nothing can be appended now")
)

// Dead is the dead letters: events that a destination refused for good. Its methods are called from
// several goroutines at once.
type Dead interface {
	// List returns letters in the order of their ids.
	List(ctx context.Context, q DeadQuery) (DeadList, error)
	// Show returns one letter.
	Show(ctx context.Context, id uint64) (DeadLetter, error)
	// Requeue appends the chosen letters' events to their streams again, for all of the streams'
	// destinations, and removes each letter once its event is synced: a crash between the two leaves
	// both. What is not appended keeps its letter and is in the outcome.
	Requeue(ctx context.Context, c DeadChoice) (DeadOutcome, error)
	// Drop removes the chosen letters.
	Drop(ctx context.Context, c DeadChoice) (DeadOutcome, error)
}

// DeadQuery says which letters to list; empty texts mean any.
type DeadQuery struct {
	Stream, Destination string
	After               uint64 // ids beyond it
	Limit               int    // 1 to MaxDeadList
}

// Limits of a list and of a choice.
const (
	MaxDeadList = 1000
	MaxDeadIDs  = 1000
)

// DeadList is a part of the letters.
type DeadList struct {
	Letters []DeadStat `json:"letters"`
	Next    uint64     `json:"next"` // the After that goes on; 0: this is the end
}

// DeadStat is what a list tells of a letter.
type DeadStat struct {
	ID          uint64 `json:"id"`
	Stream      string `json:"stream"`
	Destination string `json:"destination"` // the one that refused it
	Offset      uint64 `json:"offset"`
	Key         string `json:"key"`
	Bytes       int    `json:"bytes"` // of its data
	Reason      string `json:"reason"`
	RefusedAt   Time   `json:"refused_at"`
	Damage      string `json:"damage,omitempty"` // why the letter can't be read: then it has only its id
}

// DeadLetter is a letter whole. It has Data or DataBase64.
type DeadLetter struct {
	DeadStat
	Time       Time              `json:"time"` // the event's
	Attributes map[string]string `json:"attributes"`
	Data       *string           `json:"data,omitempty"` // when it is UTF-8
	DataBase64 []byte            `json:"data_base64,omitempty"`
}

// SetData puts data where it belongs.
func (l *DeadLetter) SetData(data []byte) {
	if utf8.Valid(data) {
		text := string(data)
		l.Data, l.DataBase64 = &text, nil
		return
	}
	l.Data, l.DataBase64 = nil, data
}

// RawData returns the data, as it was sent.
func (l *DeadLetter) RawData() []byte {
	if l.Data != nil {
		return []byte(*l.Data)
	}
	return l.DataBase64
}

// DeadChoice says which letters to requeue or to drop: those of IDs, or else those of a stream, of a
// destination or of both, or all.
type DeadChoice struct {
	IDs         []uint64 `json:"ids,omitempty"`
	Stream      string   `json:"stream,omitempty"`
	Destination string   `json:"destination,omitempty"`
	All         bool     `json:"all,omitempty"`

	// Without IDs: the ids beyond After and up to Until. Until 0 means the last letter there is, so
	// that an event which is refused again meanwhile is not requeued for ever.
	After uint64 `json:"after,omitempty"`
	Until uint64 `json:"until,omitempty"`
}

// check tells what is wrong with the choice.
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

// DeadOutcome is what has become of a choice.
type DeadOutcome struct {
	Requeued int           `json:"requeued"`
	Dropped  int           `json:"dropped"`
	Refused  []DeadRefusal `json:"refused"` // letters that stay, or were not there
	Stopped  string        `json:"stopped"` // why the letters after that were not tried; empty: they were

	// Where to go on, for a choice that took too long for one request; Next is 0 when all is done.
	Next  uint64 `json:"next"`
	Until uint64 `json:"until"`
}

// DeadRefusal is a letter to which it was not done.
type DeadRefusal struct {
	ID     uint64 `json:"id"`
	Reason string `json:"reason"`
}
