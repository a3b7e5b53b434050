// Package discard has a sink that stores nothing and reports every record as stored. Benchmarks of the stages before the
// destinations use it.
package discard

import (
	"context"

	"github.com/standpipe/standpipe/shipper"
)

// Sink is a destination that stores nothing and reports everything as stored, for benchmarks of the parts before it.
type Sink struct{ shape shipper.Shape }

// New returns a Sink that takes batches of the given shape.
func New(shape shipper.Shape) *Sink { return &Sink{shape: shape} }

// Shape returns the shape that the Sink was made with.
func (d *Sink) Shape() shipper.Shape { return d.shape }

// Send discards the batch.
func (d *Sink) Send(_ context.Context, batch []shipper.Record) shipper.Response {
	return shipper.Response{Results: make([]*shipper.Error, len(batch)), Code: "ok"}
}

// Close does nothing.
func (d *Sink) Close() error { return nil }
