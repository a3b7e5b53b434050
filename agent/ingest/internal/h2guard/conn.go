package h2guard

import (
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc/mem"
)

// inflowConn is a guarded connection. gRPC reads from one goroutine and writes from another.
type inflowConn struct {
	net.Conn
	inflow *Guard
	known  tracked      // that Conn is; nil: it is TLS
	ready  *readyReader // of it, or nil

	// Of the reading goroutine.
	in    frameScanner
	data  dataScan
	given []byte // frames of our own that gRPC reads next
	unfed []byte // bytes of the connection that follow them
	// fetched is unfed before the last fetch.
	fetched []byte
	late    bool // the deadline has passed in the middle of a frame

	writing sync.Mutex   // before mu
	out     frameScanner // guarded by writing

	due      atomic.Bool // toServer is not empty
	owes     atomic.Bool // toClient is not empty
	mu       sync.Mutex
	requests map[uint32]*partial // guarded by mu, as all below
	spare    *partial            // for the next request
	last     uint32              // the highest stream
	held     int64               // of requests
	taken    int64               // of inflow.room
	counted  int64               // of inflow.streams
	toServer []byte              // frames for gRPC
	toClient []byte              // frames for the producer
	woken    bool                // the deadline for reading is ours
	closed   bool
}

// Read reads the bytes of the producer, and the injected ends of rejected requests.
func (c *inflowConn) Read(p []byte) (int, error) {
	for {
		if len(c.given) > 0 {
			n := copy(p, c.given)
			c.given = c.given[n:]
			return n, nil
		}
		n, err := c.fetch(p)
		if n > 0 {
			return c.scan(p[:n]), err
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) || !c.rouse() {
			return 0, err
		}
		c.flush()
	}
}

// ReadOnReady is Read with a buffer that is allocated once there are bytes to read. gRPC keeps a buffer of 32 KiB for
// each connection without this method.
func (c *inflowConn) ReadOnReady(size int, pool mem.BufferPool) (*[]byte, int, error) {
	for c.ready != nil && len(c.given)+len(c.unfed) == 0 {
		c.fetched = nil
		b, n, err := c.ready.read(size, pool)
		if n > 0 {
			c.known.Touch()
			return b, c.scan((*b)[:n]), err
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) || !c.rouse() {
			return nil, 0, err
		}
		c.flush()
	}
	b := pool.Get(size)
	n, err := c.Read(*b)
	if n == 0 {
		pool.Put(b)
		return nil, 0, err
	}
	return b, n, err
}

// unfedStep bounds a read from the bytes that were held back: the next injected frame may end it soon.
const unfedStep = 1 << 10

func (c *inflowConn) fetch(p []byte) (int, error) {
	c.fetched = c.unfed
	if len(c.unfed) > 0 {
		n := copy(p[:min(len(p), unfedStep)], c.unfed)
		c.unfed = c.unfed[n:]
		return n, nil
	}
	return c.Conn.Read(p)
}

// holdBack keeps the fetched bytes b from at on.
func (c *inflowConn) holdBack(b []byte, at int) {
	if len(c.fetched) > 0 {
		c.unfed = c.fetched[at:]
		return
	}
	c.unfed = append([]byte(nil), b[at:]...)
}

// rouse reports whether reading continues after a deadline: refuseOverdue sets one to wake the reading goroutine. A producer
// that has stopped in the middle of a frame gets partialSilence to finish it.
func (c *inflowConn) rouse() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case !c.woken || c.late && !c.in.between():
		return false
	case c.in.between():
		c.injectLocked()
	default:
		c.late = true
		c.SetReadDeadline(time.Now().Add(partialSilence))
	}
	return true
}

// inject makes the frames for gRPC the next that it reads.
func (c *inflowConn) inject() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.injectLocked()
}

func (c *inflowConn) injectLocked() {
	if c.woken {
		c.woken, c.late = false, false
		c.SetReadDeadline(time.Time{})
	}
	c.given, c.toServer = c.toServer, nil
	c.due.Store(false)
}

// scan accounts for the bytes read and returns how many of them gRPC may have now. Bytes that follow an injected frame
// are held back.
func (c *inflowConn) scan(b []byte) int {
	for at := 0; at < len(b); {
		n, payload, begun, ended := c.in.advance(b[at:])
		at += n
		c.received(payload, begun, ended)
		if ended && c.due.Load() && c.in.between() {
			c.inject()
			c.flush()
			c.holdBack(b, at)
			return at
		}
	}
	return len(b)
}

// received accounts for a part of a frame of the producer.
func (c *inflowConn) received(payload []byte, begun, ended bool) {
	f := &c.in.frame
	switch {
	case f.kind == http2.FrameData:
		if begun {
			c.data.begin(f)
		}
		if len(payload) > 0 || ended {
			c.grow(f, payload, ended)
		}
	case f.kind == http2.FrameHeaders && ended:
		c.begin(f)
	case f.kind == http2.FrameRSTStream && ended:
		c.end(f.stream)
	}
}

// begin begins a request, or notes that the producer has sent all of it.
func (c *inflowConn) begin(f *frame) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.requests[f.stream]
	if s == nil {
		if f.stream <= c.last || c.closed {
			return
		}
		c.last = f.stream
		s = c.newLocked()
		c.requests[f.stream] = s
	}
	if f.flags&http2.FlagDataEndStream != 0 {
		c.finishLocked(s)
	}
	if !c.settleStreamsLocked() {
		c.refuseLocked(f.stream, s, TooManyRequests)
	}
}

func (c *inflowConn) newLocked() *partial {
	s := c.spare
	if s == nil {
		return new(partial)
	}
	c.spare = nil
	*s = partial{}
	return s
}

// grow accounts for data.
func (c *inflowConn) grow(f *frame, payload []byte, ended bool) {
	payload = c.data.content(payload, c.in.left)
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.requests[f.stream]
	if s == nil {
		return
	}
	if s.take(payload, c.inflow.largest) {
		c.held -= s.held
		s.held, s.began, c.data.paid = 0, time.Time{}, false
	}
	switch {
	case s.ended || ended && f.flags&http2.FlagDataEndStream != 0:
		c.finishLocked(s)
	case s.have > 0:
		c.holdLocked(s)
	}
	if c.settleLocked() {
		return
	}
	c.mu.Unlock()
	swept := c.inflow.sweep(time.Now())
	c.mu.Lock()
	if c.requests[f.stream] == s && !(swept && c.settleLocked()) {
		c.refuseLocked(f.stream, s, OverBudget)
	}
}

// holdLocked notes that a message of s has grown and is not whole.
func (c *inflowConn) holdLocked(s *partial) {
	s.grew = time.Now()
	if s.began.IsZero() {
		s.began = s.grew
	}
	if !c.data.paid {
		c.data.paid = true
		s.held += c.data.cost
		c.held += c.data.cost
	}
}

// settleLocked adjusts the acquired bytes of the budget to the held bytes, and reports whether the budget had them.
func (c *inflowConn) settleLocked() bool {
	need := max(0, c.held-freeInflow)
	return c.inflow.listener.Budget().Resize(&c.taken, (need+inflowStep-1)/inflowStep*inflowStep)
}

func (c *inflowConn) settleStreamsLocked() bool {
	return c.inflow.streams.Resize(&c.counted, max(0, int64(len(c.requests))-freeStreams))
}

// finishLocked notes that the producer sends no more of s. gRPC does not hold the bytes that have arrived for long.
func (c *inflowConn) finishLocked(s *partial) {
	c.held -= s.held
	s.held, s.ended = 0, true
}

// end drops a request that has ended.
func (c *inflowConn) end(stream uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.requests[stream]; s != nil {
		c.dropLocked(stream, s)
	}
}

func (c *inflowConn) dropLocked(stream uint32, s *partial) {
	c.finishLocked(s)
	delete(c.requests, stream)
	c.spare = s
	c.settleLocked()
	c.settleStreamsLocked()
}

// refuseLocked rejects a request: gRPC reads a cancellation, and the producer reads a status.
func (c *inflowConn) refuseLocked(stream uint32, s *partial, cause Cause) {
	c.dropLocked(stream, s)
	c.toServer = appendRST(c.toServer, stream, http2.ErrCodeCancel)
	c.toClient = appendTrailers(c.toClient, stream, c.inflow.listener.Reject(cause), s.answered)
	c.toClient = appendRST(c.toClient, stream, http2.ErrCodeNo)
	c.due.Store(true)
	c.owes.Store(true)
}

// refuseOverdue rejects the overdue requests. It runs on a goroutine other than the reading one.
func (c *inflowConn) refuseOverdue(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for stream, s := range c.requests {
		if !s.overdue(now) {
			continue
		}
		c.refuseLocked(stream, s, OverBudget)
		if !c.woken {
			c.woken = true
			c.SetReadDeadline(time.Unix(1, 0))
		}
	}
}

// Write writes the frames of gRPC.
func (c *inflowConn) Write(p []byte) (int, error) {
	c.writing.Lock()
	n, err := c.Conn.Write(p)
	for at := 0; at < n; {
		taken, _, begun, _ := c.out.advance(p[at:n])
		at += taken
		if begun {
			c.sent(&c.out.frame)
		}
	}
	c.writing.Unlock()
	c.flush()
	return n, err
}

// sent accounts for a frame that gRPC has sent.
func (c *inflowConn) sent(f *frame) {
	if f.kind != http2.FrameHeaders && f.kind != http2.FrameRSTStream {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.requests[f.stream]
	switch {
	case s == nil:
	case f.kind == http2.FrameRSTStream || f.flags&http2.FlagDataEndStream != 0:
		c.dropLocked(f.stream, s)
	default:
		s.answered = true
	}
}

// flush sends the frames for the producer, unless a writer is in progress, which flushes them itself.
func (c *inflowConn) flush() {
	for c.owes.Load() && c.writing.TryLock() {
		if !c.out.between() {
			c.writing.Unlock() // gRPC writes the rest of its frame soon
			return
		}
		c.mu.Lock()
		frames := c.toClient
		c.toClient = nil
		c.owes.Store(false)
		c.mu.Unlock()
		c.Conn.Write(frames)
		c.writing.Unlock()
	}
}

func (c *inflowConn) Close() error {
	c.inflow.mu.Lock()
	delete(c.inflow.conns, c)
	c.inflow.mu.Unlock()
	c.mu.Lock()
	c.closed = true
	for stream, s := range c.requests {
		c.dropLocked(stream, s)
	}
	c.mu.Unlock()
	return c.Conn.Close()
}
