package admin

import (
	"context"
	"errors"
)

var (
	// ErrNoDestination is wrapped by Destinations.Act if the stream has no destination of that name.
	ErrNoDestination = errors.New("no such destination")
	// ErrConflict is wrapped by Destinations.Act for an action that the state of the destination does not allow.
	ErrConflict = errors.New("not possible now")
)

// Action is an intervention of an operator at one destination.
type Action string

// The actions.
const (
	Pause  Action = "pause"  // sends nothing until Resume, over restarts too; its events are kept
	Resume Action = "resume" // ends a pause
	Retry  Action = "retry"  // tries now instead of after the backoff, also if it is blocked
	Forget Action = "forget" // drops the events and the dead letters of a parked destination
)

// Actions are all actions.
var Actions = []Action{Pause, Resume, Retry, Forget}

// Destinations applies actions. Its methods are called concurrently.
type Destinations interface {
	// Act returns once the action is on the disk. Repeating an action has no further effect. Errors: ErrNoDestination,
	// ErrConflict, ErrUnavailable.
	Act(ctx context.Context, stream, name string, a Action) (ActionOutcome, error)
}

// ActionOutcome is the result of an action.
type ActionOutcome struct {
	Stream      string `json:"stream"`
	Destination string `json:"destination"`
	Action      Action `json:"action"`

	Dropped     Volume `json:"dropped"`      // by Forget: events with the reason forgotten
	DeadLetters int    `json:"dead_letters"` // by Forget: deleted letters
}

// GroupOutcome is the result of an action on several destinations.
type GroupOutcome struct {
	Action  Action          `json:"action"`
	Done    int             `json:"done"`
	Refused []ActionRefusal `json:"refused"`
}

// ActionRefusal is a destination at which an action has failed, and the reason.
type ActionRefusal struct {
	Place
	Reason string `json:"reason"`
}
