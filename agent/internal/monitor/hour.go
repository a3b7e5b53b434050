package monitor

import (
	"time"

	"github.com/standpipe/standpipe/agent/admin"
)

// The bounds of an hour.
const (
	hourStep  = time.Minute
	hourSteps = 60
)

// hour holds the counters of the last hour, from which rates of a day are computed.
type hour []traffic

// traffic is the number of bytes that were written to the log, to its device and to the link, and read from the link, until a time.
type traffic struct {
	at                    time.Time
	written, device, link int64
}

// add notes a status if a step has passed since the last one.
func (h *hour) add(s *admin.Status, now time.Time) {
	if n := len(*h); n > 0 && now.Sub((*h)[n-1].at) < hourStep {
		return
	}
	if len(*h) > hourSteps {
		*h = append((*h)[:0], (*h)[1:]...)
	}
	*h = append(*h, traffic{now, s.WAL.Written, s.WAL.DeviceWritten, s.Link.Sent + s.Link.Received})
}

// complete adds the rates of a day to a status. In the first step there are none.
func (h hour) complete(s *admin.Status, now time.Time) {
	if len(h) == 0 || now.Sub(h[0].at) < hourStep {
		return
	}
	days := now.Sub(h[0].at).Hours() / 24
	s.WAL.WrittenPerDay = float64(s.WAL.Written-h[0].written) / days
	s.WAL.DeviceWrittenPerDay = float64(s.WAL.DeviceWritten-h[0].device) / days
	s.Link.PerDay = float64(s.Link.Sent+s.Link.Received-h[0].link) / days
}
