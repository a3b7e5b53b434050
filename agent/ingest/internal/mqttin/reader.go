package mqttin

import (
	"io"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/standpipe/standpipe/agent/ingest/internal/budget"
)

const (
	firstBuffer = 1 << 10  // bytes that a connection's buffer begins with
	idleBuffer  = 64 << 10 // bytes that an empty buffer keeps, and that the budget does not count
	// maxControl is the largest number of bytes of a packet that is no PUBLISH, or the first one: decoded, its parts take many times
	// as much, and the client is not known yet. A CONNECT with six parts of 65,535 bytes fits.
	maxControl = 512 << 10
)

// packetReader splits its input into packets. Its buffer grows with the bytes that arrive, not with the announced size, and
// is released after a large packet.
type packetReader struct {
	from   io.Reader
	max    int            // bytes of a packet after its fixed header
	budget *budget.Budget // for the bytes of buf beyond idleBuffer
	held   int64          // of budget
	first  bool           // the next packet is the first one

	buf   []byte
	start int // of the current packet in buf
}

// pending returns the number of bytes of a packet that has begun to arrive.
func (r *packetReader) pending() int { return len(r.buf) - r.start }

// next returns the fixed header and the body of a packet. The body lies in the reader's buffer until the next call. The error
// is a packets.Code if the client is at fault or the budget is exceeded, or that of the reader below.
func (r *packetReader) next() (h packets.FixedHeader, body []byte, err error) {
	if r.pending() == 0 {
		r.release()
	}
	for {
		size, whole, err := r.header(&h)
		if err != nil {
			return h, nil, err
		}
		if whole && r.pending() >= size+h.Remaining {
			body = r.buf[r.start+size : r.start+size+h.Remaining]
			r.start += size + h.Remaining
			r.first = false
			return h, body, nil
		}
		if err := r.fill(); err != nil {
			return h, nil, err
		}
	}
}

// header decodes the fixed header of the current packet. whole is false while a part of it is missing.
func (r *packetReader) header(h *packets.FixedHeader) (size int, whole bool, err error) {
	b := r.buf[r.start:]
	if len(b) < 2 {
		return 0, false, nil
	}
	*h = packets.FixedHeader{}
	if err := h.Decode(b[0]); err != nil {
		return 0, false, err
	}
	n, length, whole := variableInt(b[1:])
	if length == 0 {
		return 0, false, packets.ErrMalformedVariableByteInteger
	}
	if !whole {
		return 0, false, nil
	}
	if n > r.max || n > maxControl && (h.Type != packets.Publish || r.first) {
		return 0, false, packets.ErrPacketTooLarge
	}
	h.Remaining = n
	return 1 + length, true, nil
}

// variableInt decodes a variable byte integer (MQTT 5, section 1.5.5). whole is false if b ends before it does; length is 0
// if it has more than four bytes.
func variableInt(b []byte) (n, length int, whole bool) {
	for i, c := range b[:min(len(b), 4)] {
		n |= int(c&0x7f) << (7 * i)
		if c&0x80 == 0 {
			return n, i + 1, true
		}
	}
	if len(b) >= 4 {
		return 0, 0, false
	}
	return 0, len(b), false
}

// fill reads once, into free space that it makes first.
func (r *packetReader) fill() error {
	if r.start > 0 {
		r.buf = r.buf[:copy(r.buf, r.buf[r.start:])]
		r.start = 0
	}
	if len(r.buf) == cap(r.buf) && !r.grow() {
		return packets.ErrServerBusy
	}
	n, err := r.from.Read(r.buf[len(r.buf):cap(r.buf)])
	r.buf = r.buf[:len(r.buf)+n]
	if n > 0 {
		return nil
	}
	return err
}

// grow makes the buffer larger, unless the budget is exceeded.
func (r *packetReader) grow() bool {
	size := max(firstBuffer, 2*cap(r.buf))
	if !r.budget.Resize(&r.held, int64(max(0, size-idleBuffer))) {
		return false
	}
	r.buf = append(make([]byte, 0, size), r.buf...)
	return true
}

// release gives up a large buffer with nothing in it.
func (r *packetReader) release() {
	r.buf, r.start = r.buf[:0], 0
	if cap(r.buf) > idleBuffer {
		r.giveUp()
	}
}

// giveUp gives up the buffer.
func (r *packetReader) giveUp() {
	r.buf, r.start = nil, 0
	r.budget.Resize(&r.held, 0)
}
