package arrival

import "time"

// Times are the times at which the events of a queue came to wait, ascending by offset. The first may be of one that has
// left.
type Times []mark

// mark is the time at which the events from an offset on came to wait.
type mark struct {
	offset uint64
	at     time.Time
}

// Add notes an event that joins the end of the queue.
func (t *Times) Add(offset uint64, at time.Time) {
	if n := len(*t); n == 0 || !(*t)[n-1].at.Equal(at) {
		*t = append(*t, mark{offset, at})
	}
}

// Of returns when an event of the queue came to wait.
func (t Times) Of(offset uint64) time.Time {
	i := len(t) - 1
	for i > 0 && t[i].offset > offset {
		i--
	}
	return t[i].at
}

// Trim drops the times that no event of the queue needs: it has events from first on, below next.
func (t *Times) Trim(first, next uint64) {
	kept := *t
	for len(kept) > 0 && kept[len(kept)-1].offset >= next {
		kept = kept[:len(kept)-1]
	}
	for len(kept) > 1 && kept[1].offset <= first {
		kept = kept[1:]
	}
	*t = kept
}
