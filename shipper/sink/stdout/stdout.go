package stdout

import (
	"context"
	"errors"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/sink/internal/failure"
)

const (
	maxRecord    = 16 << 20 // one event may be as large as a whole gRPC request
	batchRecords = 1000
	aimBatch     = 256 << 10
)

// Options configures a Sink.
type Options struct {
	Stream, Destination string
	Envelope            *shipper.Envelope // nil: only around events that are no JSON
	Format              string            // the stream's, for that; see shipper.Envelope
	Writer              *Writer           // default: the standard output of the process
}

// Shape returns the limits of the destination: a record is one event.
func (o Options) Shape() shipper.Shape {
	envelope := o.Envelope
	if envelope == nil {
		envelope = &shipper.Envelope{Stream: o.Stream, Format: o.Format, Bare: true}
	}
	return shipper.Shape{
		Framing: shipper.FramingNone, WholeOrder: true, RecordEvents: 1,
		MaxRecord: maxRecord, AimRecord: 1, BatchRecords: batchRecords, MaxBatch: maxRecord, AimBatch: aimBatch,
		BilledStep: 1, Envelope: envelope,
	}
}

// Sink is standard output as a destination.
type Sink struct {
	shape    shipper.Shape
	out      *Writer
	position *position
}

// New returns the Sink of a destination.
func New(o Options) *Sink {
	if o.Writer == nil {
		o.Writer = process()
	}
	return &Sink{shape: o.Shape(), out: o.Writer, position: o.Writer.position(o.Stream, o.Destination)}
}

// Shape never changes.
func (s *Sink) Shape() shipper.Shape { return s.shape }

// Send writes a line for each record. Records that were written before ctx ended are stored, the others are not.
func (s *Sink) Send(ctx context.Context, batch []shipper.Record) shipper.Response {
	err := s.out.write(ctx, s.position, batch)
	if err == nil {
		return shipper.Response{Results: make([]*shipper.Error, len(batch)), Code: "ok"}
	}
	e := classify(err)
	written := s.out.written(s.position)
	if batch[0].Last > written {
		return shipper.Response{Err: e, Code: e.Code}
	}
	results := make([]*shipper.Error, len(batch))
	for i := range batch {
		if batch[i].Last > written {
			results[i] = e
		}
	}
	return shipper.Response{Results: results, Code: e.Code}
}

// classify returns the class of an error. All but the end of the request need an operator: a reader, or space on the disk.
func classify(err error) *shipper.Error {
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return &shipper.Error{Class: shipper.Operator, Code: shipper.CodeTimeout, Text: "nobody reads standard output", Record: -1}
	case errors.Is(err, context.Canceled):
		return failure.Of(err)
	}
	return &shipper.Error{Class: shipper.Operator, Code: "stdout", Text: "write to standard output: " + err.Error(), Record: -1}
}

// Close does nothing: standard output stays open.
func (s *Sink) Close() error { return nil }
