package awsclient

import (
	"context"
	"fmt"
	"net/http/httptrace"
	"sync/atomic"
	"time"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/sink/internal/dial"
	"github.com/standpipe/standpipe/shipper/sink/internal/failure"
)

const (
	// A request whose bytes will not arrive before its deadline is ended early. It is looked at after firstLook, and then
	// every nextLook. A connection gets faster, so the request must need hopeless times as long as it has.
	firstLook = 4 * time.Second
	nextLook  = 2 * time.Second
	hopeless  = 2
	enough    = 4 << 10 // bytes that must have arrived, to tell the speed of the link
)

// Upload counts the bytes of a request's body as they go out, and as they arrive.
type Upload struct {
	Sent atomic.Int64 // bytes that were read from the body

	conn     atomic.Pointer[dial.Conn]
	progress atomic.Pointer[dial.Progress] // when the response arrived
}

type uploadKey struct{}

// CountSent returns a context whose requests are counted.
func CountSent(ctx context.Context) (context.Context, *Upload) {
	up := new(Upload)
	return context.WithValue(ctx, uploadKey{}, up), up
}

// SentBytes returns the number of bytes that the requests of a context of CountSent have sent so far; 0 for any other context.
func SentBytes(ctx context.Context) int64 {
	if up, ok := ctx.Value(uploadKey{}).(*Upload); ok {
		return up.Sent.Load()
	}
	return 0
}

// Moved returns a number that changes while a request makes progress: bytes of its body go out, or arrive. On a slow link they
// arrive for minutes after the kernel has taken the last one.
func (u *Upload) Moved() int64 { return u.Sent.Load() + int64(u.last().Acked) }

// begin watches a request of so many bytes that begins; -1: unknown. end ends that.
func (u *Upload) begin(ctx context.Context, bytes int64) (_ context.Context, end func()) {
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(got httptrace.GotConnInfo) {
		if c := dial.Of(got.Conn); c != nil {
			c.Begin()
			u.conn.Store(c)
		}
	}})
	deadline, bounded := ctx.Deadline()
	if !bounded || bytes <= 0 {
		return ctx, func() {}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	var look *time.Timer
	ready := make(chan struct{})
	look = time.AfterFunc(firstLook, func() {
		<-ready
		if ctx.Err() != nil { // end was called too late to stop the timer
			return
		}
		if err := u.hopeless(int(bytes), time.Until(deadline)); err != nil {
			cancel(err)
			return
		}
		look.Reset(nextLook)
	})
	close(ready)
	return ctx, func() {
		look.Stop()
		cancel(nil)
	}
}

// hopeless returns an error if the request's bytes will not arrive in the time that is left.
func (u *Upload) hopeless(bytes int, left time.Duration) error {
	c := u.conn.Load()
	if c == nil {
		return nil
	}
	p := c.Progress()
	if p.Moving < firstLook/2 || p.Acked < enough || p.Acked >= bytes || left <= 0 {
		return nil
	}
	rate := max(c.Rate(), 1) // the other requests will end before it
	if need := float64(bytes-p.Acked) / rate; need > hopeless*left.Seconds() {
		return &tooSlowError{acked: p.Acked, of: bytes, in: p.Moving}
	}
	return nil
}

// answered notes the progress of a request whose response has arrived.
func (u *Upload) answered() {
	if u == nil {
		return
	}
	if c := u.conn.Load(); c != nil {
		p := c.Progress()
		u.progress.Store(&p)
		c.End()
	}
}

// last returns the progress of the last request.
func (u *Upload) last() dial.Progress {
	if p := u.progress.Load(); p != nil {
		return *p
	}
	if c := u.conn.Load(); c != nil {
		return c.Progress()
	}
	return dial.Progress{}
}

// tooSlowError ends a request early. It counts as a timeout, which it would be later.
type tooSlowError struct {
	acked, of int
	in        time.Duration
}

func (e *tooSlowError) Error() string {
	return fmt.Sprintf("%d of %d bytes were acknowledged in %s: too slow for the timeout", e.acked, e.of, e.in.Round(100*time.Millisecond))
}

// Timeout makes it a timeout in the sense of net.Error; Temporary is a part of that interface.
func (e *tooSlowError) Timeout() bool   { return true }
func (e *tooSlowError) Temporary() bool { return true }

// tooSlow returns the reason for which a request was ended early, or err.
func tooSlow(ctx context.Context, err error) error {
	if slow, ok := context.Cause(ctx).(*tooSlowError); ok {
		return slow
	}
	return err
}

// NoteSent notes the progress of a request in its response. A timeout before the first byte of the request's body becomes a
// connection error: no connection was established in time, which is no evidence about a link's speed.
func NoteSent(response *shipper.Response, up *Upload) {
	p := up.last()
	response.Sent, response.Acked, response.Moving = int(up.Sent.Load()), p.Acked, p.Moving
	if response.Err == nil || response.Err.Code != failure.CodeTimeout || response.Sent > 0 {
		return
	}
	e := *response.Err
	e.Code, e.Unreached = failure.CodeConnection, true
	response.Err, response.Code = &e, e.Code
}
