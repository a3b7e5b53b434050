package statsd

import "github.com/standpipe/standpipe/shipper"

// leastLine is about the size of a line, in bytes.
const leastLine = 40

// Predict returns the predicted use of a server that gets one series: the number of series follows from the events. A record
// is a line, and a request a datagram.
func (o Options) Predict(t shipper.Traffic) shipper.Forecast {
	intervals := 1 / (o.Interval.Seconds() + 1/t.PerSecond)
	return shipper.Forecast{
		Events: t.PerSecond, Payload: t.PerSecond * float64(t.Size), Billed: intervals * leastLine, Requests: intervals, Records: intervals,
	}
}
