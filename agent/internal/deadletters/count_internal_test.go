package deadletters

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/standpipe/standpipe/wal/deadletter"
)

// letters is a list of stored letters, of which at most two are returned at once.
type letters struct {
	stored []deadletter.Stat
	read   int
	fault  error
}

func (l *letters) list(_ context.Context, q deadletter.Query) ([]deadletter.Stat, error) {
	if l.fault != nil {
		return nil, l.fault
	}
	var part []deadletter.Stat
	for _, s := range l.stored {
		if s.ID > q.After && len(part) < 2 {
			part = append(part, s)
		}
	}
	l.read += len(part)
	return part, nil
}

func TestDeadCount_FollowsStoredAndDroppedLetters(t *testing.T) {
	at := func(id uint64, destination string) deadletter.Stat {
		return deadletter.Stat{ID: id, Stream: "clicks", Destination: destination}
	}
	l := &letters{stored: []deadletter.Stat{at(1, "live"), at(2, "lake"), at(3, "live"), {ID: 4, Damage: errors.New("sum")}, at(5, "live")}}
	c := new(Count)
	want := func(live, lake uint64, read int) {
		t.Helper()
		c.update(t.Context(), l.list)
		if got := c.Of("clicks", "live"); got != live {
			t.Errorf("live: got %d letters, want %d", got, live)
		}
		if got := c.Of("clicks", "lake"); got != lake {
			t.Errorf("lake: got %d letters, want %d", got, lake)
		}
		if l.read != read {
			t.Errorf("got %d letters read, want %d", l.read, read)
		}
	}
	want(3, 1, 5)
	want(3, 1, 5)
	l.stored = append(l.stored, at(6, "lake"))
	want(3, 2, 6)

	l.stored = slices.Delete(l.stored, 0, 3)
	c.Recount()
	l.fault = errors.New("the disk hangs")
	c.update(t.Context(), l.list)
	l.fault = nil
	want(1, 1, 9)
}
