package topcmd

import (
	"cmp"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/standpipe/standpipe/agent/admin"
)

// row is a destination, or a stream with the sums and the worst of its destinations.
type row struct {
	place   admin.Place // of a stream: without a destination
	kind    string      // the type of the destination
	state   admin.State
	healthy bool
	in, out float64 // events per second
	pending uint64
	oldest  time.Duration
	full    time.Duration // until the backlog fills the log; 0: it does not grow
	fault   string        // the last error
	retryAt time.Time
}

// destinationRows returns a row for each destination.
func destinationRows(s *admin.Status) []row {
	var rows []row
	for i := range s.Streams {
		stream := &s.Streams[i]
		healthy := s.Healthy(stream)
		listed := stream.Listed()
		for j := range listed {
			d := &listed[j]
			rows = append(rows, row{
				place: admin.Place{Stream: stream.Name, Destination: d.Name}, kind: d.Type, state: d.State, healthy: healthy,
				in: stream.AppendRate.Events, out: d.Rate.Events, pending: d.Pending.Events, oldest: d.Pending.Oldest(),
				full: seconds(d.UntilFullSeconds), fault: d.LastError, retryAt: d.RetryAt.Time,
			})
		}
	}
	return rows
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// streamRows returns a row for each stream.
func streamRows(s *admin.Status) []row {
	rows := make([]row, 0, len(s.Streams))
	for i := range s.Streams {
		stream := &s.Streams[i]
		r := row{place: admin.Place{Stream: stream.Name}, state: admin.Running, healthy: s.Healthy(stream), in: stream.AppendRate.Events}
		listed := stream.Listed()
		for j := range listed {
			r.include(&listed[j])
		}
		rows = append(rows, r)
	}
	return rows
}

// include adds a destination to the row of its stream.
func (r *row) include(d *admin.DestinationStatus) {
	r.out += d.Rate.Events
	r.pending = max(r.pending, d.Pending.Events) // an event waits for several destinations
	r.oldest = max(r.oldest, d.Pending.Oldest())
	if until := seconds(d.UntilFullSeconds); until > 0 && (r.full == 0 || until < r.full) {
		r.full = until
	}
	if severity(d.State) > severity(r.state) || r.fault == "" && d.State == r.state {
		r.state, r.fault, r.retryAt = d.State, d.LastError, d.RetryAt.Time
	}
}

// severity sorts the states; the highest one needs an operator most.
func severity(s admin.State) int {
	return slices.Index([]admin.State{admin.Running, admin.Parked, admin.Paused, admin.Waiting, admin.Blocked}, s)
}

// order is a column to sort by.
type order struct {
	key   rune // that chooses it
	title string
	// compare sorts the rows to look at first to the top.
	compare func(a, b *row) int
}

var orders = []order{
	{'s', "stream", func(a, b *row) int { return strings.Compare(a.place.Stream, b.place.Stream) }},
	{'t', "state", func(a, b *row) int { return severity(b.state) - severity(a.state) }},
	{'i', "in/s", func(a, b *row) int { return cmp.Compare(b.in, a.in) }},
	{'o', "out/s", func(a, b *row) int { return cmp.Compare(b.out, a.out) }},
	{'p', "pending", func(a, b *row) int { return cmp.Compare(b.pending, a.pending) }},
	{'a', "oldest", func(a, b *row) int { return cmp.Compare(b.oldest, a.oldest) }},
	{'f', "full in", func(a, b *row) int { return cmp.Compare(soonest(a.full), soonest(b.full)) }},
}

// soonest returns a time until full by which rows are sorted: never is last.
func soonest(full time.Duration) time.Duration {
	if full == 0 {
		return 1<<63 - 1
	}
	return full
}

// selection is the choice and the order of the rows.
type selection struct {
	streams  bool // rows are streams, not destinations
	order    int  // of orders
	reverse  bool
	problems bool   // only rows that are not healthy
	filter   string // a part of a name, or a pattern of path.Match; empty: all
}

// rows returns the chosen rows in their order.
func (c *selection) rows(s *admin.Status) []row {
	all := destinationRows
	if c.streams {
		all = streamRows
	}
	rows := slices.DeleteFunc(all(s), func(r row) bool { return c.problems && r.healthy || !c.matches(&r) })
	slices.SortStableFunc(rows, func(a, b row) int {
		n := orders[c.order].compare(&a, &b)
		if c.reverse {
			n = -n
		}
		return cmp.Or(n, cmp.Compare(b.pending, a.pending), strings.Compare(a.place.Stream, b.place.Stream), strings.Compare(a.place.Destination, b.place.Destination))
	})
	return rows
}

func (c *selection) matches(r *row) bool {
	for _, name := range []string{r.place.Stream, r.place.Destination} {
		if match, _ := path.Match(c.filter, name); match || strings.Contains(strings.ToLower(name), strings.ToLower(c.filter)) { // an invalid pattern matches nothing
			return true
		}
	}
	return false
}
