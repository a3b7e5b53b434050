package s3

import (
	"math"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/wal"
)

// Predict returns the predicted use of a bucket: a record is an object. The requests are PUT requests: one for a small object,
// or one for each part and two for the upload. Billed are the bytes of the objects.
func (o Options) Predict(t shipper.Traffic) shipper.Forecast {
	line := t.Size + 1
	if o.Envelope != nil {
		line = o.Envelope.Size(&wal.Event{Key: "key-00000000", Data: make([]byte, t.Size)}) + 1
	}
	bytes := t.PerSecond * float64(line)
	if o.Compression != shipper.Plain && t.Compression > 1 {
		bytes /= t.Compression
	}
	rollSize, interval := orDefault(o.RollSize, defaultRollSize), orDefault(o.RollInterval, defaultRollInterval)
	// An object begins with its first event.
	objects := max(bytes/float64(rollSize), 1/(interval.Seconds()+1/t.PerSecond))
	size, part := bytes/objects, float64(orDefault(o.PartSize, minPart))
	requests := 1.0
	if size > part {
		requests = math.Ceil(size/part) + 2
	}
	return shipper.Forecast{
		Events: t.PerSecond, Payload: t.PerSecond * float64(t.Size), Billed: bytes, Requests: objects * requests, Records: objects,
	}
}
