package socketin

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net"
	"time"

	"github.com/standpipe/standpipe/agent/ingest/internal/connlimit"
	"github.com/standpipe/standpipe/agent/ingest/internal/intake"
	"github.com/standpipe/standpipe/agent/ingest/internal/jsonscan"
	"github.com/standpipe/standpipe/agent/internal/access"
	standpipev1 "github.com/standpipe/standpipe/proto/standpipe/v1"
)

const (
	// connectionDepth bounds the lines of one connection that await their responses.
	connectionDepth = 512
	// flushAt bounds the bytes of responses that are gathered while more are ready.
	flushAt = 32 << 10
)

// connection is one producer on a socket. Its own goroutine reads and submits lines. A second goroutine, which it starts
// and awaits, responds.
type connection struct {
	wire    *Listener
	conn    net.Conn        // TLS, or known
	known   *connlimit.Conn // below it
	lines   lineReader
	reading lineReading
	waiting chan *intake.Submission // in the order of the lines; closed by the reading goroutine

	out    []byte // replies that were not written yet
	broken bool   // a write has failed
}

func newConnection(w *Listener, conn net.Conn, known *connlimit.Conn) *connection {
	return &connection{
		wire: w, conn: conn, known: known,
		lines:   lineReader{from: conn, max: w.maxLine, budget: w.budget},
		waiting: make(chan *intake.Submission, connectionDepth),
	}
}

func (c *connection) serve(ctx context.Context) {
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		c.respond(ctx)
	}()
	if admitted, ok := c.admitted(ctx); ok {
		c.receive(admitted)
	}
	close(c.waiting)
	c.lines.giveUp()
	<-answered
	c.linger()
}

// lingerFor is the time for which a connection is read on after the agent has closed its side.
const lingerFor = 250 * time.Millisecond

// linger gives the last responses time to arrive: a TCP connection that is closed with unread bytes resets, and the
// producer may lose responses that it has not read yet.
func (c *connection) linger() {
	tcp, ok := c.known.NetConn().(*net.TCPConn)
	if !ok || c.conn != c.known || c.broken || c.lines.ended == io.EOF {
		return
	}
	tcp.CloseWrite()
	tcp.SetReadDeadline(time.Now().Add(lingerFor))
	io.Copy(io.Discard, tcp)
}

// receive takes line after line until there are no more.
func (c *connection) receive(ctx context.Context) {
	for !c.wire.in.IsDraining() {
		line, err := c.lines.next()
		long, skipped := errors.AsType[*longLineError](err)
		switch {
		case skipped:
			c.enqueue(ctx, refusedLine(long.refusal()))
		case err != nil:
			return
		default:
			c.enqueue(ctx, c.submit(ctx, line))
		}
		if skipped && long.endless {
			return
		}
	}
}

// enqueue adds a line to those that await their responses.
func (c *connection) enqueue(ctx context.Context, t *intake.Submission) {
	if t.Sender == nil {
		t.Sender = c.wire.in.SenderOf(ctx) // the responding goroutine has another context
	}
	c.known.BeginRequest()
	c.waiting <- t
}

func (e *longLineError) refusal() *intake.Rejection {
	if e.crowded {
		return intake.ErrOverBudget
	}
	return intake.Invalid("%v", e)
}

func refusedLine(r *intake.Rejection) *intake.Submission {
	return &intake.Submission{Events: 1, Rejected: r}
}

// submit hands a line to the intake. An empty line is rejected like any other that is no JSON: responses match lines by their order,
// so each line gets one.
func (c *connection) submit(ctx context.Context, line []byte) *intake.Submission {
	r := intake.NewRequest()
	defer r.Free()
	if refused := c.reading.read(line, r, c.wire.in.Clock()); refused != nil {
		return refusedLine(refused)
	}
	t := c.wire.in.Submit(ctx, r)
	return &t
}

// admitted admits the producer, on a listener with a guard, by its connection or by the token in its first line. A first
// line without a token is a request if the connection alone is admitted.
func (c *connection) admitted(ctx context.Context) (context.Context, bool) {
	if c.wire.in.Guard == nil {
		return ctx, true
	}
	line, err := c.first(ctx)
	if err != nil || c.wire.in.IsDraining() {
		return ctx, false
	}
	token := tokenIn(line)
	ctx, refused := c.wire.in.Admit(ctx, c.shown().WithToken(token))
	if refused != nil {
		if token == "" {
			refused.Text += `; a connection may begin with {"token":"..."}`
		}
		c.enqueue(ctx, refusedLine(refused))
		return ctx, false
	}
	if token == "" {
		c.enqueue(ctx, c.submit(ctx, line))
	}
	return ctx, true
}

// first returns the first line. A producer that is not known without it has little time for it.
func (c *connection) first(ctx context.Context) ([]byte, error) {
	c.conn.SetReadDeadline(time.Now().Add(intake.HandshakeTimeout))
	defer c.conn.SetReadDeadline(time.Time{})
	if t, ok := c.conn.(*tls.Conn); ok {
		if err := t.HandshakeContext(ctx); err != nil {
			return nil, err
		}
	}
	shown := c.shown()
	if _, err := c.wire.in.Guard.Who(&shown); err == nil {
		c.conn.SetReadDeadline(time.Time{})
	}
	if c.wire.in.IsDraining() {
		return nil, intake.ErrDraining
	}
	return c.lines.next()
}

// tokenIn returns the token of a line that is {"token":"..."}, or nothing.
func tokenIn(line []byte) string {
	var first struct{ Token, Stream string }
	if json.Unmarshal(jsonscan.TrimMark(line), &first) != nil || first.Stream != "" {
		return ""
	}
	return first.Token
}

func (c *connection) shown() access.Shown {
	var state *tls.ConnectionState
	if t, ok := c.conn.(*tls.Conn); ok {
		at := t.ConnectionState()
		state = &at
	}
	return intake.ShownBy(c.known.RemoteAddr(), state)
}

// respond sends the responses to one line after another. It goes on to conclude them after a write has failed.
func (c *connection) respond(ctx context.Context) {
	for t := range c.waiting {
		if !c.ready(t) {
			c.flush()
		}
		r, refused := c.wire.in.Await(ctx, t)
		c.out = appendReply(c.out, t, &r, refused)
		if len(c.waiting) == 0 || len(c.out) >= flushAt {
			c.flush()
		}
		c.known.EndRequest()
	}
	c.flush()
}

// ready reports whether Await would not block.
func (c *connection) ready(t *intake.Submission) bool {
	if t.Rejected != nil || t.Ack == standpipev1.Ack_ACK_ACCEPTED {
		return true
	}
	select {
	case <-t.Ticket.Done():
		return t.Ack == standpipev1.Ack_ACK_DURABLE
	default:
		return false
	}
}

// flush writes the gathered responses. If a write fails, it closes the connection, so that the reading goroutine ends
// too.
func (c *connection) flush() {
	if len(c.out) > 0 && !c.broken {
		if _, err := c.conn.Write(c.out); err != nil {
			c.broken = true
			c.conn.Close()
		}
	}
	c.out = c.out[:0]
	if cap(c.out) > idleBuffer {
		c.out = nil
	}
}
