package h2guard

import (
	"encoding/base64"
	"encoding/binary"
	"strconv"

	"golang.org/x/net/http2"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// frame is the header of an HTTP/2 frame (RFC 9113, section 4.1).
type frame struct {
	length int // of the payload
	kind   http2.FrameType
	flags  http2.Flags
	stream uint32
}

// frameHead is the size of a frame's header.
const frameHead = 9

// frameScanner finds the frames in one direction of a connection.
type frameScanner struct {
	preface int // bytes before the first frame
	head    [frameHead]byte
	have    int // of head
	frame   frame
	left    int  // bytes of the frame
	block   bool // the frames of a block of headers must stay together
}

// advance consumes bytes of b up to the end of a frame's header (begun) or of the frame (ended), and returns how many.
// payload is the part that is not the header.
func (s *frameScanner) advance(b []byte) (n int, payload []byte, begun, ended bool) {
	switch {
	case s.preface > 0:
		n = min(s.preface, len(b))
		s.preface -= n
		return n, nil, false, false
	case s.have < frameHead:
		n = copy(s.head[s.have:], b)
		if s.have += n; s.have < frameHead {
			return n, nil, false, false
		}
		s.begin()
		begun = true
	default:
		n = min(s.left, len(b))
		payload = b[:n]
		s.left -= n
	}
	if s.left == 0 {
		s.have, ended = 0, true
	}
	return n, payload, begun, ended
}

func (s *frameScanner) begin() {
	h := &s.head
	s.frame = frame{
		length: int(h[0])<<16 | int(h[1])<<8 | int(h[2]), kind: http2.FrameType(h[3]), flags: http2.Flags(h[4]),
		stream: binary.BigEndian.Uint32(h[5:]) &^ (1 << 31),
	}
	s.left = s.frame.length
	if k := s.frame.kind; k == http2.FrameHeaders || k == http2.FrameContinuation {
		s.block = s.frame.flags&http2.FlagHeadersEndHeaders == 0
	}
}

// between reports whether another frame may be inserted here.
func (s *frameScanner) between() bool { return s.preface == 0 && s.have == 0 && !s.block }

func appendFrameHead(b []byte, f frame) []byte {
	b = append(b, byte(f.length>>16), byte(f.length>>8), byte(f.length), byte(f.kind), byte(f.flags))
	return binary.BigEndian.AppendUint32(b, f.stream)
}

// appendRST appends the frame that ends a stream.
func appendRST(b []byte, stream uint32, code http2.ErrCode) []byte {
	b = appendFrameHead(b, frame{length: 4, kind: http2.FrameRSTStream, stream: stream})
	return binary.BigEndian.AppendUint32(b, uint32(code))
}

// appendTrailers appends the status of a rejected stream, after its headers or instead of them. The header fields are
// literals that are never indexed, so the frame may stand between those of gRPC.
func appendTrailers(b []byte, stream uint32, r *status.Status, answered bool) []byte {
	var fields []byte
	if !answered {
		fields = append(fields, 0x80|8) // ":status: 200" of the static table (RFC 7541, appendix A)
		fields = appendField(fields, "content-type", "application/grpc")
	}
	fields = appendField(fields, "grpc-status", strconv.Itoa(int(r.Code())))
	fields = appendField(fields, "grpc-message", r.Message())
	if details, err := proto.Marshal(r.Proto()); err == nil {
		fields = appendField(fields, "grpc-status-details-bin", base64.RawStdEncoding.EncodeToString(details))
	}
	b = appendFrameHead(b, frame{length: len(fields), kind: http2.FrameHeaders, flags: http2.FlagHeadersEndStream | http2.FlagHeadersEndHeaders, stream: stream})
	return append(b, fields...)
}

// appendField appends a literal header field never indexed, with a new name (RFC 7541, section 6.2.3).
func appendField(b []byte, name, value string) []byte {
	b = append(b, 0x10)
	b = appendLiteral(b, name)
	return appendLiteral(b, value)
}

func appendLiteral(b []byte, s string) []byte {
	const most = 1<<7 - 1
	if len(s) < most {
		b = append(b, byte(len(s)))
	} else {
		b = append(b, most)
		b = binary.AppendUvarint(b, uint64(len(s)-most))
	}
	return append(b, s...)
}
