package wear

import "github.com/standpipe/standpipe/agent/config"

// TrafficOf returns the traffic of the log if each stream of the configuration gets so many events a second of that size.
func TrafficOf(c *config.Config, perSecond float64, size int) Traffic {
	t := Traffic{Size: size, Checkpoint: c.WAL.Checkpoints}
	for i := range c.Streams {
		s := &c.Streams[i]
		linger := s.Linger.Commit
		if s.Ack == "accepted" {
			linger = s.Linger.Accepted
		}
		if i == 0 || linger < t.Linger {
			t.Linger = linger // the stream that waits the shortest time takes the others along
		}
		t.PerSecond += perSecond
	}
	return t
}

const (
	requestBytes = 1200   // of the headers of a request and its response
	base64       = 4. / 3 // of records in JSON; Kinesis takes CBOR
)

// RequestsPerDay returns the bytes that requests to a destination of the type take on the link, without compression and
// repeats, for that payload and so many requests a second.
func RequestsPerDay(typ string, payload, requests float64) float64 {
	switch typ {
	case "file", "stdout":
		return 0
	case "firehose":
		payload *= base64
	}
	return 86400 * (payload + requests*requestBytes)
}
