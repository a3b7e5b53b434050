package sink

import (
	"context"

	"github.com/standpipe/standpipe/shipper"
)

// Discard is a destination that stores nothing and says that it stored everything, for
// benchmarks of what lies before it.
type Discard struct{ shape shipper.Shape }

// NewDiscard returns a Discard that takes batches of the given shape.
func NewDiscard(shape shipper.Shape) *Discard { return &Discard{shape: shape} }

// Shape returns the shape that the Discard was made with.
func (d *Discard) Shape() shipper.Shape { return d.shape }

// Send forgets the batch.
func (d *Discard) Send(_ context.Context, batch []shipper.Record) shipper.Response {
	return shipper.Response{Results: make([]*shipper.Error, len(batch)), Code: "ok"}
}

// Close does nothing.
func (d *Discard) Close() error { return nil }
