package h2guard

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/standpipe/standpipe/agent/ingest/internal/budget"
)

// begun returns the frames that begin a request of size bytes and hold sent of them.
func begun(stream uint32, size, sent int) []byte {
	b := appendFrameHead(nil, frame{kind: http2.FrameHeaders, flags: http2.FlagHeadersEndHeaders, stream: stream})
	message := append(binary.BigEndian.AppendUint32([]byte{0}, uint32(size)), make([]byte, sent)...)
	for len(message) > 0 {
		n := min(len(message), 16<<10)
		b = append(appendFrameHead(b, frame{length: n, kind: http2.FrameData, stream: stream}), message[:n]...)
		message = message[n:]
	}
	return b
}

// ends returns the requests that the frames in b end.
func ends(b []byte, preface int) (streams []uint32) {
	s := frameScanner{preface: preface}
	for at := 0; at < len(b); {
		n, _, begun, _ := s.advance(b[at:])
		at += n
		if begun && (s.frame.kind == http2.FrameRSTStream) {
			streams = append(streams, s.frame.stream)
		}
	}
	return streams
}

// testRoom is less than there is in life, for tests that are short.
const testRoom = 4 << 20

// testListener is a listener with testRoom bytes.
type testListener struct{ bytes *budget.Budget }

func (l *testListener) Budget() *budget.Budget      { return l.bytes }
func (l *testListener) Reject(Cause) *status.Status { return status.New(codes.Unavailable, "no room") }

func testInflow() *Guard {
	l := &testListener{bytes: budget.New(testRoom)}
	return New(l, Limits{MaxMessage: 1 << 20, MaxStreams: 2 * 1024})
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// pipe is a connection with a producer, and the bytes that both sides have read.
type pipe struct {
	producer net.Conn
	conn     *inflowConn
	served   bytes.Buffer  // by the connection, to gRPC
	heard    bytes.Buffer  // by the producer
	ended    chan struct{} // closed when gRPC would read no more
}

func openPipe(in *Guard) *pipe {
	p := &pipe{ended: make(chan struct{})}
	server, producer := net.Pipe()
	p.producer, p.conn = producer, in.add(server)
	go func() {
		defer close(p.ended)
		io.Copy(&p.served, struct{ io.Reader }{p.conn})
	}()
	go io.Copy(&p.heard, producer)
	return p
}

func (p *pipe) say(b ...[]byte) {
	for _, b := range b {
		p.producer.Write(b)
	}
	synctest.Wait()
}

func (p *pipe) close() {
	p.producer.Close()
	p.conn.Close()
	synctest.Wait()
}

func expectEnds(t *testing.T, who string, got []uint32, want ...uint32) {
	t.Helper()
	if len(got) != len(want) || len(want) > 0 && got[0] != want[0] {
		t.Errorf("%s: the requests %v are ended, want %v", who, got, want)
	}
}

var somePreface = make([]byte, len(http2.ClientPreface))

// TestGuard_StoppedRequestGivesWay: a producer that holds the whole budget and sends nothing loses it to another one
// that needs it, after partialSilence.
func TestGuard_StoppedRequestGivesWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := testInflow()
		stopped, other := openPipe(in), openPipe(in)
		stopped.say(somePreface, begun(1, 1<<20, 900<<10), begun(3, 1<<20, 900<<10), begun(5, 1<<20, 900<<10), begun(7, 1<<20, 900<<10))
		other.say(somePreface, begun(1, 1<<20, 600<<10))
		expectEnds(t, "one without room", ends(other.served.Bytes(), len(http2.ClientPreface)), 1)
		expectEnds(t, "its producer", ends(other.heard.Bytes(), 0), 1)
		expectEnds(t, "those that have it", ends(stopped.served.Bytes(), len(http2.ClientPreface)))

		time.Sleep(partialSilence + time.Second)
		other.say(begun(3, 1<<20, 600<<10))
		expectEnds(t, "one that needs room", ends(other.served.Bytes(), len(http2.ClientPreface)), 1)
		if got := len(ends(stopped.served.Bytes(), len(http2.ClientPreface))); got != 4 {
			t.Errorf("%d requests that had stopped are ended, want 4", got)
		}
		if got := len(ends(stopped.heard.Bytes(), 0)); got != 4 {
			t.Errorf("their producer is told of %d, want 4", got)
		}
		stopped.say(begun(9, 1000, 10)) // the connection goes on
		if got := stopped.conn.held; got == 0 || closed(stopped.ended) {
			t.Errorf("the connection holds %d bytes, and has ended: %v", got, closed(stopped.ended))
		}
		stopped.close()
		other.close()
		expectNothingHeld(t, in)
	})
}

// TestGuard_ProducerThatStopsInAFrame: a response can't be sent inside of a frame, so the connection is closed.
func TestGuard_ProducerThatStopsInAFrame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := testInflow()
		stopped, other := openPipe(in), openPipe(in)
		b := begun(7, 1<<20, 900<<10)
		stopped.say(somePreface, begun(1, 1<<20, 900<<10), begun(3, 1<<20, 900<<10), begun(5, 1<<20, 900<<10), b[:len(b)-1])
		time.Sleep(partialSilence + time.Second)
		other.say(somePreface, begun(1, 1<<20, 600<<10))
		expectEnds(t, "one that needs room", ends(other.served.Bytes(), len(http2.ClientPreface)))
		time.Sleep(partialSilence - time.Second)
		synctest.Wait()
		if closed(stopped.ended) {
			t.Error("given up at once")
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if !closed(stopped.ended) {
			t.Error("not given up")
		}
		stopped.close()
		other.close()
		expectNothingHeld(t, in)
	})
}

// TestFrames_OfOneByte: gRPC holds a hundred times as much of each.
func TestFrames_OfOneByte(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := testInflow()
		p := openPipe(in)
		b := begun(1, 1<<20, 0)
		for range 64 << 10 {
			b = append(b, 0, 0, 1, byte(http2.FrameData), 0, 0, 0, 0, 1, 'x')
		}
		p.say(somePreface, b)
		expectEnds(t, "64 KiB of them", ends(p.served.Bytes(), len(http2.ClientPreface)), 1)
		p.close()
		expectNothingHeld(t, in)
	})
}

// TestGuard_WholeRequestsHoldNothing, however many a connection sends.
func TestGuard_WholeRequestsHoldNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := testInflow()
		p := openPipe(in)
		p.say(somePreface)
		for stream := uint32(1); stream < 600; stream += 2 {
			p.say(begun(stream, 32<<10, 32<<10))
		}
		expectEnds(t, "whole ones", ends(p.served.Bytes(), len(http2.ClientPreface)))
		if p.conn.held != 0 {
			t.Errorf("%d bytes are held", p.conn.held)
		}
		p.close()
		expectNothingHeld(t, in)
	})
}

func expectNothingHeld(t *testing.T, in *Guard) {
	t.Helper()
	if got := in.listener.(*testListener).bytes.Left(); got != testRoom {
		t.Errorf("room for %d bytes is left, want %d", got, testRoom)
	}
	if got := in.streams.Left(); got != 2*1024 {
		t.Errorf("room for %d requests is left, want %d", got, 2*1024)
	}
}

// FuzzGuard: gRPC reads the bytes of a producer unchanged, however they are cut, and nothing is held afterwards.
func FuzzGuard(f *testing.F) {
	f.Add(append(somePreface, begun(1, 100, 50)...), 7)
	f.Add(append(somePreface, begun(1, 20, 20)...), 1)
	f.Add(append(append([]byte(nil), somePreface...), 0, 0, 9, byte(http2.FrameData), byte(http2.FlagDataPadded|http2.FlagDataEndStream), 0, 0, 0, 1, 3, 0, 0, 0, 0, 0, 0, 0, 0), 3)
	f.Add(append(append([]byte(nil), somePreface...), 0, 0, 4, byte(http2.FrameRSTStream), 0, 0, 0, 0, 1, 0, 0, 0, 0), 3)
	f.Fuzz(func(t *testing.T, said []byte, cut int) {
		in := testInflow()
		conn := in.add(&scriptConn{said: said, cut: 1 + abs(cut)%64})
		got, _ := io.ReadAll(struct{ io.Reader }{conn})
		if !bytes.Equal(got, said) {
			t.Fatalf("got %q, want %q", got, said)
		}
		conn.Write(said) // as if gRPC had
		var held int64
		for _, s := range conn.requests {
			held += s.held
		}
		if held != conn.held || held < 0 {
			t.Fatalf("%d bytes are held, and %d by requests", conn.held, held)
		}
		conn.Close()
		expectNothingHeld(t, in)
	})
}

func abs(n int) int { return max(n, -(n + 1)) }

// scriptConn is a connection with a scripted peer. Reads return cut bytes at a time.
type scriptConn struct {
	net.Conn
	said []byte
	cut  int
}

func (c *scriptConn) Read(p []byte) (int, error) {
	n := copy(p[:min(len(p), c.cut)], c.said)
	c.said = c.said[n:]
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

func (c *scriptConn) Write(p []byte) (int, error) { return len(p), nil }
func (c *scriptConn) Close() error                { return nil }

// TestGuard_RejectionsInOneRead: the bytes behind each of them are served once, in their order.
func TestGuard_RejectionsInOneRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := testInflow()
		in.streams.Acquire(in.streams.Left())
		p := openPipe(in)
		said := append([]byte(nil), somePreface...)
		const begins = 300
		for i := range uint32(begins) {
			said = append(said, begun(2*i+1, 1000, 10)...)
		}
		p.say(said)
		ended := ends(p.served.Bytes(), len(http2.ClientPreface))
		if len(ended) != begins-freeStreams || len(ends(p.heard.Bytes(), 0)) != len(ended) {
			t.Errorf("%d requests are ended, want %d", len(ended), begins-freeStreams)
		}
		if got, want := p.served.Len(), len(said)+len(ended)*(frameHead+4); got != want {
			t.Errorf("%d bytes are served, want %d", got, want)
		}
		in.streams.Release(2 * 1024)
		p.close()
		expectNothingHeld(t, in)
	})
}
