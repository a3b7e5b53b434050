package catchup

import (
	"time"

	"github.com/standpipe/standpipe/wal"
)

// Mode is the order in which a destination gets a stream's events after an outage. An outage is a time of at least 10 s
// in which no request got through; or a start of the shipper with an event that has waited for so long. The zero value
// keeps the order of each key: the oldest events go first. At most one field is set.
//
// In every other mode the outage ends with a gap: the events before it are the backlog, the events after it are fresh.
// Each lane has a place in both, and sends them in requests of their own. The order of a key is kept within the backlog
// and among the fresh events, not between the two. It has no effect on destinations with the order of the whole stream.
type Mode struct {
	// FreshShare is the part of the bytes, above 0 and below 1, that fresh events have while some of the backlog waits.
	// Each part uses the bytes that the other one leaves. 0: the oldest events go first.
	FreshShare float64
	// Latest: the newest event of each key of the backlog goes first, then fresh events, and the rest of the backlog uses
	// what they leave.
	Latest bool
}

// Splits reports whether outages end with a gap.
func (m Mode) Splits() bool { return m.FreshShare > 0 || m.Latest }

// share returns the part of the bytes that fresh events have.
func (m Mode) share() float64 {
	if m.Latest {
		return 1
	}
	return m.FreshShare
}

// outageLeast is the shortest outage that ends with a gap.
const outageLeast = 10 * time.Second

// Cursor is the part of the destination's cursor that Turns needs.
type Cursor interface{ Stat() wal.CursorStat }

// Turns decides whether fresh events or the backlog go next. It is used by Run's goroutine alone.
type Turns struct {
	Mode   Mode
	tested bool      // a request has got through since the start
	since  time.Time // start of the first request of those that fail
	Ended  bool      // an outage has ended, and its gap is still to be made

	Searching bool // for the newest events of the backlog; nothing is sent meanwhile

	Since time.Time // when the outage ended whose backlog is not through; zero: there is none
	until uint64    // the end of that backlog

	Fresh   bool    // the part of the last batch
	balance float64 // the bytes that fresh events may send before the backlog's turn
	largest float64 // bytes of the largest batch
}

// Failed notes that the destination fails, by a request that began at started.
func (t *Turns) Failed(started time.Time) { t.since = started }

// Recovered notes that a request got through. after reports whether others had failed before it.
func (t *Turns) Recovered(now time.Time, after bool, cursor Cursor) {
	began := t.since
	if !t.tested && t.Mode.Splits() {
		if at := cursor.Stat().OldestPending; !at.IsZero() && (!after || at.Before(began)) {
			began, after = at, true
		}
	}
	t.tested = true
	t.Ended = t.Ended || after && now.Sub(began) >= outageLeast
}

// Sent notes that the last batch goes out. A part that had nothing to send gets at most one batch more than its share later.
func (t *Turns) Sent(bytes int) {
	n := float64(bytes)
	if t.Fresh {
		t.balance -= (1 - t.Mode.share()) * n
	} else {
		t.balance += t.Mode.share() * n
	}
	t.largest = max(t.largest, n)
	t.balance = max(-t.largest, min(t.balance, t.largest))
}

// Begin notes that the events before an offset are the backlog of an outage that has ended.
func (t *Turns) Begin(now time.Time, until uint64) {
	if t.until = until; t.Since.IsZero() {
		t.Since = now
	}
}

// longCatchUp is the shortest time of a catch-up whose end is logged.
const longCatchUp = 10 * time.Second

// Through ends the catch-up once the backlog of the last outage is settled. long reports, once, that it took long enough to be
// logged.
func (t *Turns) Through(cursor Cursor, now time.Time) (took time.Duration, long bool) {
	if t.Since.IsZero() || cursor.Stat().Checkpoint < t.until {
		return 0, false
	}
	took = now.Sub(t.Since)
	t.Since = time.Time{}
	return took, took >= longCatchUp
}

// First reports whether fresh events go first, if there are any.
func (t *Turns) First() bool { return t.balance >= 0 }

// Holds reports whether nothing is sent before the newest events of the backlog are known.
func (t *Turns) Holds() bool { return t.Searching || t.Ended && t.Mode.Latest }
