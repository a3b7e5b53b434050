package monitor

import (
	"fmt"
	"testing"
	"time"

	"github.com/standpipe/standpipe/agent/admin"
)

// flowing makes a status with counters of that many streams.
func flowing(streams int, appended, delivered, pending uint64) *admin.Status {
	s := &admin.Status{}
	for i := range streams {
		d := admin.DestinationStatus{Name: "a", Delivered: admin.Volume{Events: delivered}, Pending: admin.Pending{Events: pending}}
		s.Streams = append(s.Streams, admin.StreamStatus{Name: fmt.Sprint(i), Appended: admin.Volume{Events: appended}, Destinations: []admin.DestinationStatus{d}})
	}
	return s
}

func TestHistory_HasRates(t *testing.T) {
	var h history
	begin := time.Unix(1e9, 0)
	h.add(flowing(2, 1000, 500, 500), begin)
	h.add(flowing(2, 9999, 999, 9), begin.Add(historyStep-1)) // within the step
	h.add(flowing(2, 1100, 550, 550), begin.Add(historyStep))
	h.add(flowing(2, 1100, 650, 450), begin.Add(3*historyStep)) // a gap
	h.add(flowing(2, 100, 50, 1), begin.Add(4*historyStep))     // streams have ended
	got := h.copy()
	want := fmt.Sprint([]admin.Point{{In: 20, Out: 10, Pending: 1100}, {Out: 10, Pending: 900}, {Out: 10, Pending: 900}, {Pending: 2}})
	if fmt.Sprint(got.All) != want {
		t.Errorf("all: got %v, want %v", got.All, want)
	}
	want = fmt.Sprint([]admin.Point{{Out: 5, Pending: 550}, {Out: 5, Pending: 450}, {Out: 5, Pending: 450}, {Pending: 1}})
	if one := got.Destinations[admin.Place{Stream: "1", Destination: "a"}]; fmt.Sprint(one) != want {
		t.Errorf("a destination: got %v, want %v", one, want)
	}
}

// The history is bounded in time and in destinations, and has no destination that is gone.
func TestHistory_IsBounded(t *testing.T) {
	var h history
	now := time.Unix(1e9, 0)
	for i := range uint64(200) {
		h.add(flowing(historyDestinations+100, i, i, 0), now)
		now = now.Add(historyStep)
	}
	got := h.copy()
	if len(got.All) != historySteps || len(got.Destinations) != historyDestinations {
		t.Errorf("got %d steps and %d destinations", len(got.All), len(got.Destinations))
	}
	for place, points := range got.Destinations {
		if len(points) != historySteps {
			t.Errorf("%v: got %d steps", place, len(points))
		}
	}
	h.add(flowing(1, 0, 0, 0), now.Add(time.Hour))
	if got := h.copy(); len(got.Destinations) != 1 || len(got.All) != historySteps {
		t.Errorf("got %d destinations and %d steps", len(got.Destinations), len(got.All))
	}
}
