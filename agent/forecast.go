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
	Link float64 // bytes a day on the link
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
			p := destination.Predict(d, shape, t)
			sent := p.Payload
			if shape.Compression != shipper.Plain {
				sent /= max(t.Compression, 1)
			}
			all = append(all, Forecast{s.Name, d.Type, d.Name, p, wear.RequestsPerDay(d.Type, sent, p.Requests)})
		}
	}
	return all, nil
}

// WrittenPerDay returns the bytes that the log writes on a day with the given traffic in each stream, by measurements on ext4.
func WrittenPerDay(c *config.Config, t shipper.Traffic) float64 {
	return wear.BytesPerDay(wear.TrafficOf(c, t.PerSecond, t.Size))
}
