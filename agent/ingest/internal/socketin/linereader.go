package socketin

import (
	"bytes"
	"fmt"
	"io"

	"github.com/standpipe/standpipe/agent/ingest/internal/budget"
)

const (
	firstBuffer = 4 << 10  // bytes that a connection's buffer begins with
	idleBuffer  = 64 << 10 // bytes that an empty buffer keeps
	// maxSkip is how many bytes the end of a line is looked for in.
	maxSkip = 64 << 20
)

// lineReader splits its input into lines. Its buffer grows with a long line and is released after it.
type lineReader struct {
	from   io.Reader
	max    int            // bytes of a line at most, its newline not counted
	budget *budget.Budget // for the bytes of buf beyond idleBuffer
	held   int64          // of budget

	buf     []byte
	start   int // of the current line in buf
	scanned int // bytes of the current line that are known to hold no newline
	ended   error
}

// longLineError is a line over the limit, or one for which there was no room. It was skipped when endless is
// false.
type longLineError struct {
	size, max int
	endless   bool // the line's end was not found
	crowded   bool // it is within the limit
}

func (e *longLineError) Error() string {
	if e.endless {
		return fmt.Sprintf("the line has no end within %d bytes; a line may have %d", e.size, e.max)
	}
	return fmt.Sprintf("the line has %d bytes; a line may have %d", e.size, e.max)
}

// next returns a line without its newline, which lies in the reader's buffer until the next call.
// A last line without a newline counts. Errors: a *longLineError, after which reading goes on
// unless it is endless; those of the reader below.
func (l *lineReader) next() ([]byte, error) {
	l.release()
	for {
		if line, ok := l.cut(); ok {
			return line, l.tooLong(len(line))
		}
		if len(l.buf)-l.start > l.max {
			return nil, l.skip()
		}
		if l.ended != nil {
			return l.last()
		}
		if !l.fill() {
			return nil, l.skip()
		}
	}
}

func (l *lineReader) tooLong(size int) error {
	if size <= l.max {
		return nil
	}
	return &longLineError{size: size, max: l.max}
}

// cut takes the current line from the buffer if it is whole.
func (l *lineReader) cut() ([]byte, bool) {
	at := bytes.IndexByte(l.buf[l.start+l.scanned:], '\n')
	if at < 0 {
		l.scanned = len(l.buf) - l.start
		return nil, false
	}
	line := l.buf[l.start : l.start+l.scanned+at]
	l.start += len(line) + 1
	l.scanned = 0
	return line, true
}

// last returns the bytes after the last newline, and at the next call the error of the reader. Bytes before an error
// other than io.EOF are no line.
func (l *lineReader) last() ([]byte, error) {
	line := l.buf[l.start:]
	l.start, l.scanned = len(l.buf), 0
	if len(line) == 0 || l.ended != io.EOF {
		return nil, l.ended
	}
	return line, nil
}

// skip reads on to the end of a line that is over the limit.
func (l *lineReader) skip() error {
	size := 0
	for {
		if line, ok := l.cut(); ok {
			return l.skipped(size + len(line))
		}
		size += len(l.buf) - l.start
		l.start, l.scanned = len(l.buf), 0
		switch {
		case size > maxSkip:
			return &longLineError{size: size, max: l.max, endless: true}
		case l.ended == io.EOF:
			return l.skipped(size)
		case l.ended != nil:
			return l.ended
		}
		l.release()
		l.fill()
	}
}

func (l *lineReader) skipped(size int) error {
	return &longLineError{size: size, max: l.max, crowded: size <= l.max}
}

// release gives up a large buffer with nothing in it.
func (l *lineReader) release() {
	if l.start == len(l.buf) && cap(l.buf) > idleBuffer {
		l.giveUp()
	}
}

// giveUp gives up the buffer, also when there is something in it.
func (l *lineReader) giveUp() {
	l.buf, l.start = nil, 0
	l.budget.Resize(&l.held, 0)
}

// grow makes the buffer larger, unless the budget is exceeded.
func (l *lineReader) grow() bool {
	size := max(firstBuffer, 2*cap(l.buf))
	if !l.budget.Resize(&l.held, int64(max(0, size-idleBuffer))) {
		return false
	}
	l.buf = append(make([]byte, 0, size), l.buf...)
	return true
}

// fill reads once, into free space that it makes first. It reads nothing where there is no room.
func (l *lineReader) fill() bool {
	if l.start > 0 {
		l.buf = l.buf[:copy(l.buf, l.buf[l.start:])]
		l.start = 0
	}
	if len(l.buf) == cap(l.buf) && !l.grow() {
		return false
	}
	n, err := l.from.Read(l.buf[len(l.buf):cap(l.buf)])
	l.buf = l.buf[:len(l.buf)+n]
	l.ended = err
	return true
}
