package stdout

import (
	"bytes"
	"context"
	"io"
	"sync"

	"github.com/standpipe/standpipe/shipper"
)

const (
	// pipeBuf is the size up to which a write to a pipe is atomic: PIPE_BUF in limits.h of Linux.
	pipeBuf = 4096
	// aside is about the number of bytes that are written in the background.
	aside = 64 << 10
	// keptCapacity bounds the buffer that is kept for the next lines.
	keptCapacity = 2 * aside
)

// Writer writes lines for several destinations, one after another. It outlives their sinks: a line that was begun for a sink
// is finished though a reload has replaced the sink.
type Writer struct {
	out  io.Writer
	turn chan struct{} // holds one while lines are written

	// The lines under way, whose first bytes may be written. They belong to the goroutine that has the turn.
	rest  []byte
	lines []line

	mu        sync.Mutex
	positions map[[2]string]*position // of each destination
}

// line is a line of rest.
type line struct {
	end    int // bytes of rest up to its end
	offset uint64
	of     *position
}

// position is the progress of a destination.
type position struct {
	written uint64 // the offset of the last event that is written; guarded by Writer.mu
}

// NewWriter returns a Writer to out.
func NewWriter(out io.Writer) *Writer {
	return &Writer{out: out, turn: make(chan struct{}, 1), positions: make(map[[2]string]*position)}
}

// process returns the Writer to the standard output of the process.
var process = sync.OnceValue(func() *Writer { return NewWriter(standardOutput()) })

func (w *Writer) position(stream, destination string) *position {
	w.mu.Lock()
	defer w.mu.Unlock()
	at := w.positions[[2]string{stream, destination}]
	if at == nil {
		at = new(position)
		w.positions[[2]string{stream, destination}] = at
	}
	return at
}

func (w *Writer) written(at *position) uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return at.written
}

// write writes a line for each record that is not written yet. When ctx ends, lines under way are finished in the background.
func (w *Writer) write(ctx context.Context, at *position, batch []shipper.Record) error {
	for {
		// A select takes any of the cases that are ready: a context that has ended must not write.
		if err := ctx.Err(); err != nil {
			return err
		}
		select {
		case w.turn <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
		// With the turn, no line is under way, except after an error: then the lines of rest go first.
		if len(w.rest) == 0 {
			for written := w.written(at); len(batch) > 0 && batch[0].Last <= written; {
				batch = batch[1:]
			}
			w.take(at, batch)
		}
		if len(w.rest) == 0 {
			<-w.turn
			return nil
		}
		done := make(chan error, 1)
		go func() {
			err := w.flush()
			<-w.turn
			done <- err
		}()
		select {
		case err := <-done:
			if err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// take makes lines of the first records.
func (w *Writer) take(at *position, batch []shipper.Record) {
	w.rest, w.lines = w.rest[:0], w.lines[:0]
	for i := range batch {
		data := batch[i].Data
		if len(w.rest) > 0 && len(w.rest)+len(data) >= aside {
			return
		}
		w.rest = append(w.rest, data...)
		if !bytes.HasSuffix(data, []byte{'\n'}) {
			w.rest = append(w.rest, '\n')
		}
		w.lines = append(w.lines, line{len(w.rest), batch[i].Last, at})
	}
}

// flush writes rest. After an error it begins with the first byte that is not written.
func (w *Writer) flush() error {
	for done := 0; len(w.lines) > 0; {
		whole := w.lines[0].end // as many lines as a write to a pipe takes at once, at least one
		for _, l := range w.lines[1:] {
			if l.end-done > pipeBuf {
				break
			}
			whole = l.end
		}
		n, err := w.out.Write(w.rest[done:whole])
		done += n
		w.finish(done)
		if err == nil && done < whole {
			err = io.ErrShortWrite
		}
		if err != nil {
			w.rest = w.rest[done:]
			for i := range w.lines {
				w.lines[i].end -= done
			}
			return err
		}
	}
	if w.rest = w.rest[:0]; cap(w.rest) > keptCapacity {
		w.rest = nil
	}
	return nil
}

// finish removes the lines of the first bytes of rest, which are written.
func (w *Writer) finish(bytes int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.lines) > 0 && w.lines[0].end <= bytes {
		l := w.lines[0]
		l.of.written = max(l.of.written, l.offset)
		w.lines = w.lines[1:]
	}
}
