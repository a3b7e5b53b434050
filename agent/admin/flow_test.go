package admin_test

import (
	"testing"
	"time"

	"github.com/standpipe/standpipe/agent/admin"
)

func TestSum(t *testing.T) {
	s := sample()
	other := sampleDestination()
	other.Name, other.Rate, other.Pending = "live", admin.Rate{Events: 20, Bytes: 2000}, admin.Pending{Events: 1, Bytes: 10, OldestSeconds: 90}
	s.Streams[0].Destinations = append(s.Streams[0].Destinations, other)
	s.Streams = append(s.Streams, admin.StreamStatus{Name: "idle"})
	got := admin.Sum(s.Streams)
	want := admin.Flow{
		In: admin.Rate{Events: 100.5, Bytes: 51456}, Out: admin.Rate{Events: 20, Bytes: 2000},
		Pending: admin.Volume{Events: 1001, Bytes: 512010}, Oldest: 90 * time.Second, Destinations: 2,
	}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if text, want := got.String(), "in 101 events/s (50 KiB/s), out 20 events/s (2.0 KiB/s); 1,001 events pending (500 KiB) at 2 destinations, the oldest for 1m 30s"; text != want {
		t.Errorf("got %q, want %q", text, want)
	}
	if got := (admin.Flow{}).String(); got != "in 0 events/s, out 0 events/s; nothing pending" {
		t.Errorf("got %q", got)
	}
}
