package agent

import (
	"fmt"
	"strings"

	"github.com/standpipe/standpipe/agent/config"
	"github.com/standpipe/standpipe/agent/internal/destination"
	"github.com/standpipe/standpipe/agent/internal/wear"
	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/wal"
)

// logIDLen is the length of a log ID, which is part of every envelope.
const logIDLen = 26

// Forecast is the predicted use and cost of one destination of a stream.
type Forecast struct {
	Stream, Type, Name string
	shipper.Forecast
}

// Predict returns a forecast for each destination of the configuration if each stream has the given traffic. It opens no
// connection. It returns an error if an event of that size does not fit a destination.
func Predict(c *config.Config, t shipper.Traffic) ([]Forecast, error) {
	var all []Forecast
	for _, s := range c.Streams {
		for _, d := range s.Destinations {
			shape, err := destination.Shape(d, destination.Envelope([]wal.Branch{{First: 1, ID: strings.Repeat("0", logIDLen)}}, s.Name, d))
			if err != nil {
				return nil, fmt.Errorf("stream %q, destination %q: %w", s.Name, d.Name, err)
			}
			e := wal.Event{Key: strings.Repeat("k", len("key-00000000")), Data: make([]byte, t.Size)}
			if room := shape.Room(&e); t.Size > room {
				return nil, fmt.Errorf("stream %q: an event has %d bytes; destination %q takes %d", s.Name, t.Size, d.Name, room)
			}
			all = append(all, Forecast{s.Name, d.Type, d.Name, destination.Predict(d, shape, t)})
		}
	}
	return all, nil
}

// PredictDay returns the bytes that the log writes, and those of requests, of a day with the given traffic in each stream.
func PredictDay(c *config.Config, t shipper.Traffic) (flash, link float64, err error) {
	all, err := Predict(c, t)
	for _, p := range all {
		link += wear.RequestsPerDay(p.Type, p.Payload, p.Requests)
	}
	return wear.BytesPerDay(wear.TrafficOf(c, t.PerSecond, t.Size)), link, err
}
