// Package jsonl encodes events as lines, compressed as one gzip member or one zstd frame, or not at all.
//
// A line is the event's payload, or its envelope. Ingest has checked that payloads of streams without an envelope have no
// line breaks.
package jsonl

import (
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/wal"
)

// zstdWindow bounds the memory of the encoder, and of a reader.
const zstdWindow = 1 << 20

// Writer encodes the events of one object. It is not safe for concurrent use.
type Writer struct {
	out      counter
	encoder  io.WriteCloser // nil: no compression
	envelope *shipper.Envelope
	line     []byte // reused

	lines   int64 // bytes before compression
	emitted int64 // out.n when it last changed
	covered int64 // lines at that time
}

// NewWriter returns a Writer for an object whose bytes go to out. Writes to out must not fail.
func NewWriter(out io.Writer, compression shipper.Compression, envelope *shipper.Envelope) *Writer {
	w := &Writer{out: counter{to: out}, envelope: envelope}
	switch compression {
	case shipper.Gzip:
		w.encoder = must(gzip.NewWriterLevel(&w.out, gzip.BestSpeed))
	case shipper.Zstd:
		w.encoder = must(zstd.NewWriter(&w.out, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
			zstd.WithWindowSize(zstdWindow), zstd.WithLowerEncoderMem(true)))
	}
	return w
}

var newline = []byte{'\n'}

// Add appends the line of e.
func (w *Writer) Add(e *wal.Event) {
	to := io.Writer(&w.out)
	if w.encoder != nil {
		to = w.encoder
	}
	if w.envelope == nil {
		w.write(to, e.Data)
		w.write(to, newline)
	} else {
		w.line = append(w.envelope.Append(w.line[:0], e), '\n')
		w.write(to, w.line)
	}
	if w.out.n != w.emitted {
		w.emitted, w.covered = w.out.n, w.lines
	}
}

func (w *Writer) write(to io.Writer, b []byte) {
	must(to.Write(b))
	w.lines += int64(len(b))
}

// Size returns an estimate of the object's size if it ended now: the compressed bytes, and the rest at the ratio of
// those, or at its own size at first. Without compression it is exact.
func (w *Writer) Size() int64 { return w.emitted + w.estimate(w.lines-w.covered) }

// SizeWith returns the estimate with e.
func (w *Writer) SizeWith(e *wal.Event) int64 {
	n := len(e.Data)
	if w.envelope != nil {
		n = w.envelope.Size(e)
	}
	return w.emitted + w.estimate(w.lines-w.covered+int64(n)+1)
}

func (w *Writer) estimate(lines int64) int64 {
	if w.encoder == nil || w.covered == 0 {
		return lines
	}
	return int64(float64(lines) * float64(w.emitted) / float64(w.covered))
}

// Finish ends the compression.
func (w *Writer) Finish() {
	if w.encoder != nil {
		must(0, w.encoder.Close())
	}
}

// counter counts the bytes that go to an io.Writer.
type counter struct {
	to io.Writer
	n  int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.to.Write(p)
	c.n += int64(n)
	return n, err
}

// must panics on an error, which constant options and an output that does not fail never cause.
func must[T any](v T, err error) T {
	if err != nil {
		panic("jsonl: " + err.Error())
	}
	return v
}
