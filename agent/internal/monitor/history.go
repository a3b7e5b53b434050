package monitor

import (
	"slices"
	"sync"
	"time"

	"github.com/standpipe/standpipe/agent/admin"
)

// The bounds of the history: ten minutes, in at most half a MiB.
const (
	historyStep         = 10 * time.Second
	historySteps        = 60
	historyDestinations = 500
)

// history keeps the traffic of the last minutes, for all streams together and for each destination up to a limit.
type history struct {
	mu           sync.Mutex // guards the fields below
	at           time.Time  // of the last step
	appended     uint64     // events of all streams at that time
	delivered    uint64     // events at all destinations at that time
	all          []admin.Point
	destinations map[admin.Place]*destinationHistory
}

// destinationHistory is the history of one destination.
type destinationHistory struct {
	delivered uint64 // events at the last step
	points    []admin.Point
	present   bool // in the status of this step
}

// add notes a status if a step has passed since the last one. A gap is filled with its average.
func (h *history) add(s *admin.Status, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	steps := int(now.Sub(h.at) / historyStep)
	if steps <= 0 && !h.at.IsZero() {
		return
	}
	elapsed := now.Sub(h.at).Seconds()
	if h.at.IsZero() {
		steps = 0 // the counters alone
		h.destinations = make(map[admin.Place]*destinationHistory)
	}
	h.at = now
	var appended, delivered, pending uint64
	for i := range s.Streams {
		appended += s.Streams[i].Appended.Events
		for j := range s.Streams[i].Destinations {
			d := &s.Streams[i].Destinations[j]
			delivered += d.Delivered.Events
			pending += d.Pending.Events
			h.addDestination(admin.Place{Stream: s.Streams[i].Name, Destination: d.Name}, d, elapsed, steps)
		}
	}
	h.all = push(h.all, admin.Point{In: perSecond(h.appended, appended, elapsed), Out: perSecond(h.delivered, delivered, elapsed), Pending: float32(pending)}, steps)
	h.appended, h.delivered = appended, delivered
	for place, d := range h.destinations {
		if !d.present {
			delete(h.destinations, place)
		}
		d.present = false
	}
}

func (h *history) addDestination(at admin.Place, d *admin.DestinationStatus, elapsed float64, steps int) {
	own := h.destinations[at]
	if own == nil {
		if len(h.destinations) < historyDestinations {
			h.destinations[at] = &destinationHistory{delivered: d.Delivered.Events, present: true}
		}
		return
	}
	own.points = push(own.points, admin.Point{Out: perSecond(own.delivered, d.Delivered.Events, elapsed), Pending: float32(d.Pending.Events)}, steps)
	own.delivered, own.present = d.Delivered.Events, true
}

// push adds a point for each of some steps, and removes the oldest beyond the limit.
func push(points []admin.Point, p admin.Point, steps int) []admin.Point {
	for range min(steps, historySteps) {
		if len(points) == historySteps {
			points = append(points[:0], points[1:]...)
		}
		points = append(points, p)
	}
	return points
}

// perSecond returns the rate of a counter. It is 0 when the counter has fallen, as that of all streams does when one ends.
func perSecond(before, now uint64, seconds float64) float32 {
	if now < before || seconds <= 0 {
		return 0
	}
	return float32(float64(now-before) / seconds)
}

// copy returns the history at this time.
func (h *history) copy() admin.History {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := admin.History{Step: historyStep, All: slices.Clone(h.all), Destinations: make(map[admin.Place][]admin.Point, len(h.destinations))}
	for place, d := range h.destinations {
		c.Destinations[place] = slices.Clone(d.points)
	}
	return c
}
