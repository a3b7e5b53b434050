package arrival

import "time"

const (
	// maxSeen bounds the looks at a growing log whose times are kept. Beyond it, two share the time of the first.
	maxSeen = 32
	// directLooks is the number of looks that follow an append at once. The later ones are a pause apart.
	directLooks = 12
)

// Tail is the part of the log behind the last read, which met the log's end.
type Tail struct {
	End   uint64    // where the last read met the log's end; 0: it did not
	Bytes uint64    // of the payloads of all events before End, or less
	Again time.Time // no look before

	seen   []mark    // at each look: the end of the log, and the time at which its last events came
	looked time.Time // the last look
	fresh  bool      // the first events have come since TakeFresh
}

// Met notes that a read met the log's end there. bytes were appended before the read.
func (t *Tail) Met(end, bytes uint64, now time.Time) {
	*t = Tail{End: end, Bytes: bytes, seen: t.seen[:0], looked: now}
}

// Look notes the log's end. heard reports whether the look follows the first of the new events at once. Else they may have
// come at any time since the last look.
func (t *Tail) Look(now time.Time, end uint64, heard bool, pause time.Duration) {
	at := t.looked
	if heard {
		at = now
	}
	t.looked = now
	n := len(t.seen)
	if n > 0 && t.seen[n-1].offset >= end {
		return
	}
	if n == maxSeen {
		n /= 2
		for i := range n {
			t.seen[i] = mark{t.seen[2*i+1].offset, t.seen[2*i].at}
		}
		t.seen = t.seen[:n]
	}
	t.fresh = t.fresh || n == 0
	t.seen = append(t.seen, mark{end, at})
	if n >= directLooks {
		t.Again = now.Add(pause)
	}
}

// First returns when the first event of the part came to wait. ok is false if no look has found one.
func (t *Tail) First() (at time.Time, ok bool) {
	if len(t.seen) == 0 {
		return at, false
	}
	return t.seen[0].at, true
}

// Since returns when an event came to wait; latest if no look found it.
func (t *Tail) Since(offset uint64, latest time.Time) time.Time {
	for i := range t.seen {
		if offset < t.seen[i].offset {
			return t.seen[i].at
		}
	}
	return latest
}

// TakeFresh reports, once, that events have come after the log's end was met.
func (t *Tail) TakeFresh() bool {
	fresh := t.fresh
	t.fresh = false
	return fresh
}
