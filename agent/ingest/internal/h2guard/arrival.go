package h2guard

import (
	"encoding/binary"
	"time"

	"golang.org/x/net/http2"
)

// partial is a request in progress, and its message that is arriving.
type partial struct {
	head     [5]byte // of the message: whether it is packed, and its length
	have     int     // of head
	left     int64   // bytes of the message
	held     int64   // bytes that gRPC holds of the message
	began    time.Time
	grew     time.Time
	answered bool // the server has sent headers
	ended    bool // nothing more of it is held
}

// take accounts for data of the request, and reports whether a message of it became whole.
func (s *partial) take(b []byte, largest int) (whole bool) {
	for len(b) > 0 && !s.ended {
		if s.have < len(s.head) {
			n := copy(s.head[s.have:], b)
			s.have, b = s.have+n, b[n:]
			if s.have < len(s.head) {
				return whole
			}
			s.left = int64(binary.BigEndian.Uint32(s.head[1:]))
			s.ended = s.left > int64(largest)
		}
		n := min(s.left, int64(len(b)))
		s.left, b = s.left-n, b[n:]
		if s.left == 0 {
			s.have, whole = 0, true
		}
	}
	return whole
}

func (s *partial) overdue(now time.Time) bool {
	if s.held == 0 {
		return false
	}
	most := partialTime + time.Duration(s.held/partialRate)*partialTime
	return now.Sub(s.grew) > partialSilence || now.Sub(s.began) > most
}

// dataScan is a frame of data that is being read.
type dataScan struct {
	pad  int   // bytes at its end that are padding; -1: their number comes next
	cost int64 // bytes that gRPC holds for the frame
	paid bool  // the cost is in the partial's held
}

func (d *dataScan) begin(f *frame) {
	*d = dataScan{cost: frameCost + int64(f.length)}
	if f.flags&http2.FlagDataPadded != 0 {
		d.pad = -1
	}
	// gRPC pools buffers of more than 1 KiB in two sizes.
	switch {
	case f.length > 4<<10:
		d.cost = frameCost + 16<<10
	case f.length > 1<<10:
		d.cost = frameCost + 4<<10
	}
}

// content returns payload without padding. left bytes of the frame follow payload.
func (d *dataScan) content(payload []byte, left int) []byte {
	if d.pad < 0 && len(payload) > 0 {
		d.pad, payload = int(payload[0]), payload[1:]
	}
	if over := d.pad - left; over > 0 {
		payload = payload[:max(0, len(payload)-over)]
	}
	return payload
}
