package mqttin

import (
	"bufio"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// maxUpgrade is the largest number of bytes of the request that begins a websocket.
	maxUpgrade = 16 << 10
	// frameBuffer is the bytes of a websocket's read buffer.
	frameBuffer = 512
)

// The opcodes of frames (RFC 6455, section 5.2).
const (
	frameContinued = 0x0
	frameBinary    = 0x2
	frameClose     = 0x8
	framePing      = 0x9
	framePong      = 0xa
)

var errFrame = errors.New("the websocket has a frame that MQTT does not allow")

// websocket is the bytes of MQTT within the binary frames of a websocket (MQTT 5, section 6).
type websocket struct {
	net.Conn
	from *bufio.Reader
	left uint64 // bytes of the current frame's payload
	mask [4]byte
	at   int // the index of the next byte's mask

	mu sync.Mutex // held during a write
}

// acceptWebsocket responds to the request for a websocket, whose first byte was read already. A web page must be of one of the
// origins: any page that is open on this host can connect to a loopback address.
func acceptWebsocket(conn net.Conn, first byte, origins []string) (net.Conn, error) {
	ahead := io.MultiReader(strings.NewReader(string(first)), conn)
	limited := &io.LimitedReader{R: ahead, N: maxUpgrade}
	from := bufio.NewReaderSize(limited, frameBuffer)
	r, err := http.ReadRequest(from)
	if err != nil {
		return nil, err
	}
	limited.R, limited.N = conn, 1<<62
	h := r.Header
	origin := h.Get("Origin")
	switch {
	case r.Method != http.MethodGet || !strings.EqualFold(h.Get("Upgrade"), "websocket") || h.Get("Sec-WebSocket-Version") != "13" || h.Get("Sec-WebSocket-Key") == "":
		return nil, respond(conn, "400 Bad Request", "this listener takes MQTT, also by websocket")
	case origin != "" && !slices.Contains(origins, origin) && !slices.Contains(origins, "*"):
		return nil, respond(conn, "403 Forbidden", "the page's origin is not among the listener's cors_origins")
	case !hasToken(h.Values("Sec-WebSocket-Protocol"), "mqtt"):
		return nil, respond(conn, "400 Bad Request", "the websocket's subprotocol must be mqtt")
	}
	sum := sha1.Sum([]byte(h.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) // RFC 6455, section 1.3
	_, err = fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Accept: %s\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n", base64.StdEncoding.EncodeToString(sum[:]))
	return &websocket{Conn: conn, from: from}, err
}

// respond writes the response to a rejected request, and returns its text as the error.
func respond(conn net.Conn, status, text string) error {
	fmt.Fprintf(conn, "HTTP/1.1 %s\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s\n", status, len(text)+1, text)
	return errors.New(text)
}

// hasToken reports whether a list of a header has the token.
func hasToken(values []string, token string) bool {
	for _, v := range values {
		for name := range strings.SplitSeq(v, ",") {
			if strings.TrimSpace(name) == token {
				return true
			}
		}
	}
	return false
}

// Read reads bytes of the payloads. It responds to pings.
func (w *websocket) Read(p []byte) (int, error) {
	for w.left == 0 {
		if err := w.nextFrame(); err != nil {
			return 0, err
		}
	}
	n, err := w.from.Read(p[:min(uint64(len(p)), w.left)])
	w.unmask(p[:n])
	w.left -= uint64(n)
	return n, err
}

// unmask decodes bytes of the current frame (RFC 6455, section 5.3).
func (w *websocket) unmask(p []byte) {
	for i := range p {
		p[i] ^= w.mask[w.at&3]
		w.at++
	}
}

// nextFrame reads the header of the next frame with data, and whole frames without.
func (w *websocket) nextFrame() error {
	var h [14]byte
	if _, err := io.ReadFull(w.from, h[:2]); err != nil {
		return err
	}
	opcode, length := h[0]&0x0f, uint64(h[1]&0x7f)
	more := map[uint64]int{126: 2, 127: 8}[length]
	if h[0]&0x70 != 0 || h[1]&0x80 == 0 { // no extension is agreed on, and a client masks its frames
		return errFrame
	}
	if _, err := io.ReadFull(w.from, h[2:2+more+4]); err != nil {
		return err
	}
	switch more {
	case 2:
		length = uint64(binary.BigEndian.Uint16(h[2:]))
	case 8:
		length = binary.BigEndian.Uint64(h[2:])
	}
	copy(w.mask[:], h[2+more:])
	w.at = 0
	switch {
	case opcode == frameBinary || opcode == frameContinued:
		w.left = length
		return nil
	case opcode < frameClose || length > 125:
		return errFrame
	}
	return w.control(opcode, make([]byte, length))
}

// control reads the payload of a control frame and responds to it.
func (w *websocket) control(opcode byte, payload []byte) error {
	if _, err := io.ReadFull(w.from, payload); err != nil {
		return err
	}
	w.unmask(payload)
	switch opcode {
	case framePing:
		return w.writeFrame(framePong, payload)
	case frameClose:
		return io.EOF
	}
	return nil
}

// Write writes p as one frame.
func (w *websocket) Write(p []byte) (int, error) {
	if err := w.writeFrame(frameBinary, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (w *websocket) writeFrame(opcode byte, payload []byte) error {
	b := []byte{0x80 | opcode}
	switch n := len(payload); {
	case n < 126:
		b = append(b, byte(n))
	case n <= 0xffff:
		b = binary.BigEndian.AppendUint16(append(b, 126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 127), uint64(n))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.Conn.SetWriteDeadline(time.Now().Add(writeTimeout)) // that of the last packet has passed when a ping comes
	_, err := w.Conn.Write(append(b, payload...))
	return err
}
