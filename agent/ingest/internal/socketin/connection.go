package socketin

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net"
	"time"

	"github.com/standpipe/standpipe/agent/access"
	"github.com/standpipe/standpipe/agent/ingest/internal/connlimit"
	"github.com/standpipe/standpipe/agent/ingest/internal/intake"
	"github.com/standpipe/standpipe/agent/ingest/internal/jsonscan"
	standpipev1 "github.com/standpipe/standpipe/proto/standpipe/v1"
)

const (
	// connectionDepth bounds the lines of one connection that wait for their replies.
	connectionDepth = 512
	// flushAt is how many bytes of replies are gathered at most while more are ready.
	flushAt = 32 << 10
)

// connection is one producer on a socket. Its own goroutine reads lines and submits them; a
// second one, which it starts and awaits, replies.
type connection struct {
	wire    *Listener
	conn    net.Conn        // TLS, or known
	known   *connlimit.Conn // below it
	lines   lineReader
	reading lineReading
	waiting chan *intake.Submission // in the order of the lines; closed by the reading goroutine

	out    []byte // replies that were not written yet
	broken bool   // the producer takes no replies any more
}

func newConnection(w *Listener, conn net.Conn, known *connlimit.Conn) *connection {
	return &connection{
		wire: w, conn: conn, known: known,
		lines:   lineReader{from: conn, max: w.maxLine, room: w.room},
		waiting: make(chan *intake.Submission, connectionDepth),
	}
}

func (c *connection) serve(ctx context.Context) {
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		c.answer(ctx)
	}()
	if admitted, ok := c.admitted(ctx); ok {
		c.receive(admitted)
	}
	close(c.waiting)
	c.lines.giveUp()
	<-answered
	c.linger()
}

// lingerFor is how long a connection is read on that the agent closes first.
const lingerFor = 250 * time.Millisecond

// linger lets the last replies arrive: a TCP connection that is closed with bytes unread resets,
// and the producer may lose what it had not read yet.
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
			c.owe(ctx, refusedLine(long.refusal()))
		case err != nil:
			return
		default:
			c.owe(ctx, c.take(ctx, line))
		}
		if skipped && long.endless {
			return
		}
	}
}

// owe has a line answered after those before it.
func (c *connection) owe(ctx context.Context, t *intake.Submission) {
	if t.Sender == nil {
		t.Sender = c.wire.in.SenderOf(ctx) // who answers does not know
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

// take submits a line. An empty line is refused like any other that is no JSON: replies are
// matched to lines by their order, so none may go unanswered.
func (c *connection) take(ctx context.Context, line []byte) *intake.Submission {
	r := intake.NewRequest()
	defer r.Free()
	if refused := c.reading.read(line, r, c.wire.in.Clock()); refused != nil {
		return refusedLine(refused)
	}
	t := c.wire.in.Submit(ctx, r)
	return &t
}

// admitted finds out who sends, where the listener has a guard: from what the connection shows, or from the
// token with which it begins. That line is a request when it holds no token and none is needed.
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
		c.owe(ctx, refusedLine(refused))
		return ctx, false
	}
	if token == "" {
		c.owe(ctx, c.take(ctx, line))
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

// answer replies to line after line, and goes on to conclude them when nobody reads the replies.
func (c *connection) answer(ctx context.Context) {
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

// ready reports whether finish will not wait.
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

// flush writes the replies that are gathered. A producer that can't be written to is gone: its
// connection is closed, so that the reading goroutine ends too.
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
