package httpin

import (
	"io"
	"sync"

	"github.com/standpipe/standpipe/agent/ingest/internal/budget"
	"github.com/standpipe/standpipe/agent/ingest/internal/intake"
)

const (
	// freeBody is the size in bytes up to which a body acquires no budget: that much is reckoned for every connection.
	freeBody = 16 << 10
	// trustedBody bounds the bytes that are allocated for an announced length before any byte has arrived.
	trustedBody = 256 << 10
	// maxPooledBody bounds the buffer that is kept for the next body.
	maxPooledBody = 64 << 10
)

// body is the bytes of a request as they arrive. It is reused and must not be used after free.
type body struct {
	budget *budget.Budget
	bytes  []byte
	held   int64 // from room
}

var bodies = sync.Pool{New: func() any { return &body{bytes: make([]byte, 0, 4<<10)} }}

func newBody(r *budget.Budget) *body {
	b := bodies.Get().(*body)
	b.budget = r
	return b
}

func (b *body) free() {
	b.budget.Release(b.held)
	b.budget, b.held = nil, 0
	if cap(b.bytes) > maxPooledBody {
		return
	}
	b.bytes = b.bytes[:0]
	bodies.Put(b)
}

// read reads from to its end. announced is the expected size, or -1; limit is the largest allowed one. Its error is a
// *intake.Rejection or an error of from.
func (b *body) read(from io.Reader, announced int64, limit int) error {
	if announced > int64(limit) {
		return tooLongBody(announced, limit)
	}
	for {
		if len(b.bytes) == cap(b.bytes) || len(b.bytes) == 0 {
			if !b.grow(announced, limit) {
				return intake.ErrOverBudget
			}
		}
		n, err := from.Read(b.bytes[len(b.bytes):cap(b.bytes)])
		b.bytes = b.bytes[:len(b.bytes)+n]
		switch {
		case len(b.bytes) > limit:
			return tooLongBody(-1, limit)
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
	}
}

// grow enlarges the buffer for the next bytes. One byte more than announced detects the end of the body without another
// allocation.
func (b *body) grow(announced int64, limit int) bool {
	size := int64(max(2*len(b.bytes), 4<<10))
	if announced >= int64(len(b.bytes)) {
		size = max(min(announced, trustedBody), min(size, announced)) + 1
	}
	size = max(min(size, int64(limit)+1), int64(cap(b.bytes)))
	if !b.hold(size - freeBody) {
		return false
	}
	if size > int64(cap(b.bytes)) {
		b.bytes = append(make([]byte, 0, size), b.bytes...)
	}
	return true
}

// hold acquires budget until b holds n bytes of it.
func (b *body) hold(n int64) bool {
	if n <= b.held {
		return true
	}
	if !b.budget.Acquire(n - b.held) {
		return false
	}
	b.held = n
	return true
}

// tooLongBody is the rejection of a body of size bytes; -1 for a body that was not read to its end.
func tooLongBody(size int64, limit int) *intake.Rejection {
	r := intake.TooLarge("the body has more than %d bytes; max_request_size allows no more", limit)
	if size >= 0 {
		r = intake.TooLarge("the body has %d bytes; max_request_size allows %d", size, limit)
	}
	return r
}
