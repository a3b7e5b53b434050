package relay

import (
	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/wal"
)

// Predict returns the predicted use of a receiver: a record is an event, and billed are the bytes of the requests.
func (o Options) Predict(t shipper.Traffic) shipper.Forecast {
	r := newRequest()
	e := wal.Event{Key: "key-00000000", Data: make([]byte, t.Size), Time: 1 << 60}
	if err := r.add(&e); err != nil {
		panic("relay: encode an event: " + err.Error()) // its key is UTF-8
	}
	bytes := t.PerSecond * float64(len(r.encoded))
	// A request begins with its first event.
	requests := max(bytes/aimRequest, t.PerSecond/requestEvents, 1/(o.MaxDelay.Seconds()+1/t.PerSecond))
	return shipper.Forecast{
		Events: t.PerSecond, Payload: t.PerSecond * float64(t.Size), Billed: bytes, Requests: min(requests, t.PerSecond), Records: t.PerSecond,
	}
}
