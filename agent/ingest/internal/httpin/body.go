package httpin

import (
	"io"
	"sync"

	"github.com/standpipe/standpipe/agent/ingest/internal/intake"
)

const (
	// freeBody is the size up to which a body is held without asking for room: that much of every
	// connection is reckoned with.
	freeBody = 16 << 10
	// trustedBody is how much of an announced length is allocated before anything has come.
	trustedBody = 256 << 10
	// maxPooledBody bounds what is kept for the next body.
	maxPooledBody = 64 << 10
)

// body is the bytes of a request, gathered as they arrive. It is reused: nothing of it may be used
// after free.
type body struct {
	room  *intake.Budget
	bytes []byte
	taken int64 // from room
}

var bodies = sync.Pool{New: func() any { return &body{bytes: make([]byte, 0, 4<<10)} }}

func newBody(r *intake.Budget) *body {
	b := bodies.Get().(*body)
	b.room = r
	return b
}

func (b *body) free() {
	b.room.Release(b.taken)
	b.room, b.taken = nil, 0
	if cap(b.bytes) > maxPooledBody {
		return
	}
	b.bytes = b.bytes[:0]
	bodies.Put(b)
}

// read takes all of from, of which announced bytes are expected (-1: not known) and limit are
// allowed. Its error is a *refusal or what from returned.
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

// grow makes room for the next bytes. One byte more than announced shows the end of the body
// without another allocation.
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

// hold makes b hold n bytes of the room, at least.
func (b *body) hold(n int64) bool {
	if n <= b.taken {
		return true
	}
	if !b.room.Acquire(n - b.taken) {
		return false
	}
	b.taken = n
	return true
}

// tooLongBody is the refusal of a body of size bytes; -1 where it was not read to its end.
func tooLongBody(size int64, limit int) *intake.Rejection {
	r := intake.TooLarge("the body has more than %d bytes; max_request_size allows no more", limit)
	if size >= 0 {
		r = intake.TooLarge("the body has %d bytes; max_request_size allows %d", size, limit)
	}
	return r
}
