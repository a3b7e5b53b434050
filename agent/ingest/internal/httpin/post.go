package httpin

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/textproto"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/standpipe/standpipe/agent/ingest/internal/budget"
	"github.com/standpipe/standpipe/agent/ingest/internal/intake"
	"github.com/standpipe/standpipe/agent/ingest/internal/jsonscan"
	"github.com/standpipe/standpipe/wal"
)

// posts takes POST /v1/streams/STREAM.
type posts struct {
	in            *intake.Intake
	limit         int // bytes of a body, compressed or not
	patience      time.Duration
	budget        *budget.Budget
	decompressors *decompressors
	keyHeader     string   // as net/http writes it
	keyField      []string // nil: none
}

func newPosts(in *intake.Intake, limit int, h *Options) *posts {
	p := &posts{
		in: in, limit: limit, patience: h.ReadTimeout, decompressors: newDecompressors(), budget: in.NewBudget(limit),
		keyHeader: textproto.CanonicalMIMEHeaderKey(h.KeyHeader),
	}
	if h.KeyField != "" {
		p.keyField = strings.Split(h.KeyField, ".")
	}
	return p
}

// respond stores the body and responds, or returns a rejection.
func (p *posts) respond(out http.ResponseWriter, r *http.Request, stream string) *intake.Rejection {
	_, rules, refused := p.in.Rules(r.Context(), stream)
	if refused != nil {
		p.in.CountRejected(p.in.SenderOf(r.Context()), "", 1, refused)
		return refused
	}
	b, refused := p.receive(r)
	if refused == nil && sequenceTypes[mediaType(r.Header)] {
		b.free()
		refused = errSequence
	}
	if refused != nil {
		p.in.CountRejected(p.in.SenderOf(r.Context()), stream, 1, refused)
		return refused
	}
	defer b.free()
	defer arrived(p.in, r).EndRequest()
	t := p.submit(r, stream, b, rules.Format)
	reply, refused := p.in.Await(r.Context(), &t)
	if refused != nil {
		return p.place(refused, r, b, rules.Format)
	}
	writeResponse(out, &t, &reply)
	return nil
}

// receive returns the whole body of r, decompressed.
func (p *posts) receive(r *http.Request) (*body, *intake.Rejection) {
	coding, refused := codingOf(r.Header)
	if refused != nil {
		return nil, refused
	}
	b := newBody(p.budget)
	err := b.read(&arrival{in: p.in, r: r, patience: p.patience}, r.ContentLength, p.limit)
	if err == nil && coding != "" {
		compressed := b
		b = newBody(p.budget)
		err = p.decompressors.decompress(r.Context(), coding, compressed.bytes, b, p.limit)
		compressed.free()
	}
	if err != nil {
		b.free()
		return nil, p.unread(err)
	}
	return b, nil
}

// unread is the refusal of a body that could not be read to its end.
func (p *posts) unread(err error) *intake.Rejection {
	if refused, ok := errors.AsType[*intake.Rejection](err); ok {
		return refused
	}
	if p.in.IsDraining() {
		return intake.ErrDraining
	}
	r := intake.Invalid("the body ended before it was whole: nothing of it was stored")
	r.Reason = intake.ReasonGivenUp
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) {
		r.Text = "the body did not arrive in time: nothing of it was stored"
		r.Code, r.Status = codes.DeadlineExceeded, http.StatusRequestTimeout
	}
	return r
}

// submit hands the events of a body to the log.
func (p *posts) submit(r *http.Request, stream string, b *body, format string) intake.Submission {
	q := intake.NewRequest()
	defer q.Free()
	q.Batch.Stream, q.Awaited = stream, true
	if refused := p.fill(q, r, b, format); refused != nil {
		return intake.Submission{Stream: stream, Events: max(1, len(q.Batch.Events)), Rejected: refused}
	}
	return p.in.Submit(r.Context(), q)
}

func (p *posts) fill(q *intake.Request, r *http.Request, b *body, format string) *intake.Rejection {
	var like wal.Event
	p.in.Clock().On(&like)
	if refused := p.parameters(q, &like, r); refused != nil {
		return refused
	}
	if ndjson(r.Header) {
		if refused := fillLines(q, b, format, like); refused != nil {
			return refused
		}
	} else {
		like.Data = oneEvent(b.bytes, format)
		q.Batch.Events = append(q.Batch.Events, like)
	}
	if like.Key != "" {
		return nil
	}
	return p.fillKeys(q.Batch.Events)
}

// oneEvent is a body as an event: where that is one line, as curl sends a file of one line, the
// line's end does not belong to it.
func oneEvent(b []byte, format string) []byte {
	switch format {
	case intake.FormatBytes:
		return b
	case intake.FormatJSON:
		b = jsonscan.TrimMark(b)
	}
	return bytes.TrimSuffix(bytes.TrimSuffix(b, newline), carriage)
}

// fillKeys takes the keys from the events themselves.
func (p *posts) fillKeys(events []wal.Event) *intake.Rejection {
	if p.keyField == nil {
		return intake.Invalid("the partition key is missing; ?key=, the header %s or key_field in the listener's block gives it", p.keyHeader)
	}
	for i := range events {
		var refused *intake.Rejection
		if events[i].Key, refused = intake.KeyInField(events[i].Data, p.keyField, "; ?key= gives a key without it"); refused != nil {
			refused.Event = i
			return refused
		}
	}
	return nil
}

// place adds the line to the rejection of an event, or the content type for several lines to that of a body.
func (p *posts) place(refused *intake.Rejection, r *http.Request, b *body, format string) *intake.Rejection {
	at := *refused
	switch {
	case ndjson(r.Header) && refused.Event != intake.NoEvent:
		at.Line = lineOf(b.bytes, format, refused.Event)
	case !ndjson(r.Header) && refused.Reason == intake.ReasonFormat && severalEvents(b.bytes, format):
		at.Text += "; Content-Type: application/x-ndjson is for one event a line"
	}
	return &at
}

// severalEvents reports whether a body has several lines, and is not one value on all of them.
func severalEvents(b []byte, format string) bool {
	if intake.LineBreak(oneEvent(b, format)) < 0 {
		return false
	}
	_, one := jsonscan.Valid(jsonscan.TrimMark(b))
	return format != intake.FormatJSON || !one
}
