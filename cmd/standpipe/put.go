package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/standpipe/standpipe/client"
	standpipev1 "github.com/standpipe/standpipe/proto/standpipe/v1"
)

const (
	putLines    = 1000     // lines of a request at most
	putBytes    = 1 << 20  // bytes of a request to stop at; a longer line is a request of its own
	putDepth    = 8        // requests that wait for their replies at most
	putLongest  = 64 << 20 // bytes of a line at most; what the agent takes is its own business
	putHelpText = `Append the lines of FILE, or of standard input, to a stream: one event a line.

The newline, and a carriage return before it, are not part of the event; a last line without a
newline counts; a byte order mark at the beginning and blank lines are skipped. Events of one
partition key stay in order. The key is --key, or the line's top-level JSON field --key-field (a
string or a number), or else the stream's name, which keeps the whole input in order.

Every line is synced to the agent's disk before it counts as stored. At the first line that is
refused put stops with exit code 1 and says which it was: the lines before it are stored, and
nothing after it is.`
)

func newPutCommand() *cobra.Command {
	var p putting
	c := &cobra.Command{
		Use:   "put STREAM [FILE]",
		Short: "Append a file's or standard input's lines to a stream",
		Long:  putHelpText,
		Args:  cobra.RangeArgs(1, 2),
		RunE: func(c *cobra.Command, args []string) error {
			p.stream = args[0]
			if !c.Flags().Changed("key") {
				p.key = p.stream
			}
			return p.command(c, args[1:])
		},
	}
	c.Flags().StringVar(&p.key, "key", "", "the partition `key` of every event (default: the stream's name)")
	c.Flags().StringVar(&p.field, "key-field", "", "take the key from this top-level JSON `field` of each line")
	p.door.flags(c, "gRPC", defaultIngestAddress)
	c.MarkFlagsMutuallyExclusive("key", "key-field")
	return c
}

// putting is one run of put.
type putting struct {
	stream, key, field string
	door               dialing

	client standpipev1.IngestClient
	stored uint64
	blank  int // lines that were skipped; belongs to the reading goroutine until it ends
}

// putBatch is the lines of one request. lines holds their numbers in the input.
type putBatch struct {
	request *standpipev1.AppendRequest
	lines   []int
	bytes   int
}

// lineError is why a line was not stored.
type lineError struct {
	line int
	text string
}

func (e *lineError) Error() string { return fmt.Sprintf("line %d: %s", e.line, e.text) }

func (p *putting) command(c *cobra.Command, files []string) error {
	in := c.InOrStdin()
	if len(files) > 0 && files[0] != "-" {
		f, err := os.Open(files[0])
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	options, err := p.door.options()
	if err != nil {
		return err
	}
	conn, err := client.Connect(p.door.address, options)
	if err != nil {
		return err
	}
	defer conn.Close()
	p.client = standpipev1.NewIngestClient(conn)
	err = p.run(c.Context(), in)
	p.report(c.OutOrStdout(), err == nil)
	if err != nil {
		return fmt.Errorf("%w (%s stored before it)", err, plural(p.stored, "event"))
	}
	return nil
}

func (p *putting) report(out io.Writer, whole bool) {
	text := "stored " + plural(p.stored, "event")
	if whole && p.blank > 0 {
		text += ", skipped " + plural(uint64(p.blank), "empty line")
	}
	fmt.Fprintln(out, text)
}

func plural(n uint64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// run stores the lines of in. The goroutine that reads may outlive it, in a read of a terminal.
func (p *putting) run(ctx context.Context, in io.Reader) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	batches := make(chan *putBatch)
	var readErr error // set before batches is closed
	go func() {
		defer close(batches)
		readErr = p.read(ctx, in, batches)
	}()
	pending, err := p.pipeline(ctx, batches)
	if err != nil {
		err = p.explain(ctx, pending, batches, err)
	}
	if err != nil {
		return err
	}
	return readErr
}

// pipeline sends batches over one AppendStream until they end, or the stream does; then it
// returns those that were not answered.
func (p *putting) pipeline(ctx context.Context, batches <-chan *putBatch) (pending []*putBatch, err error) {
	stream, err := p.client.AppendStream(ctx)
	if err != nil {
		return nil, err
	}
	replies := make(chan *standpipev1.AppendResponse)
	var ended error // set before replies is closed
	go func() {
		defer close(replies)
		ended = receiveReplies(ctx, stream, replies)
	}()
	for source := batches; ; {
		take := source
		if len(pending) == putDepth {
			take = nil
		}
		select {
		case b, ok := <-take:
			if !ok {
				source = nil
				stream.CloseSend()
				continue
			}
			pending = append(pending, b)
			stream.Send(b.request) // why it did not work, the receiving side tells
		case r, ok := <-replies:
			if !ok {
				return pending, streamEnd(ended, len(pending))
			}
			p.stored += uint64(r.Count)
			pending = pending[1:]
		}
	}
}

type replyStream = grpc.BidiStreamingClient[standpipev1.AppendRequest, standpipev1.AppendResponse]

func receiveReplies(ctx context.Context, stream replyStream, to chan<- *standpipev1.AppendResponse) error {
	for {
		r, err := stream.Recv()
		if err != nil {
			return err
		}
		select {
		case to <- r:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func streamEnd(err error, unanswered int) error {
	if !errors.Is(err, io.EOF) {
		return err
	}
	if unanswered > 0 {
		return status.Errorf(codes.Unavailable, "the agent ended the stream with %d requests unanswered", unanswered)
	}
	return nil
}

// explain finds the line that the agent refused, of the batches that it did not answer: a batch is
// refused whole, so the first of them is sent again line by line. When every line is taken alone
// (the request was too large for the listener, or the log has room again), what remains follows
// request by request.
func (p *putting) explain(ctx context.Context, pending []*putBatch, rest <-chan *putBatch, err error) error {
	if !refusedWhole(err) || len(pending) == 0 {
		return unknownOutcome(pending, err)
	}
	if err := p.singly(ctx, pending[0]); err != nil {
		return err
	}
	for _, b := range pending[1:] {
		if err := p.whole(ctx, b); err != nil {
			return err
		}
	}
	for b := range rest {
		if err := p.whole(ctx, b); err != nil {
			return err
		}
	}
	return nil
}

// refusedWhole reports whether err may be due to one line of the request or to its size.
func refusedWhole(err error) bool {
	c := status.Code(err)
	return c == codes.InvalidArgument || c == codes.ResourceExhausted
}

func (p *putting) whole(ctx context.Context, b *putBatch) error {
	r, err := p.client.Append(ctx, b.request)
	switch {
	case err == nil:
		p.stored += uint64(r.Count)
		return nil
	case refusedWhole(err):
		return p.singly(ctx, b)
	}
	return unknownOutcome([]*putBatch{b}, err)
}

func (p *putting) singly(ctx context.Context, b *putBatch) error {
	for i, e := range b.request.Events {
		_, err := p.client.Append(ctx, &standpipev1.AppendRequest{
			Stream: p.stream, Events: []*standpipev1.Event{e}, Ack: b.request.Ack,
		})
		if err != nil {
			return &lineError{b.lines[i], refusalText(err)}
		}
		p.stored++
	}
	return nil
}

// refusalText leaves out the event's index: the line's number stands for it.
func refusalText(err error) string {
	s := status.Convert(err)
	return fmt.Sprintf("%s (%s)", strings.TrimPrefix(s.Message(), "event 0: "), code.Code(s.Code()))
}

// refusedFirst reports whether err was decided before anything of the request was looked at: nothing of it, nor
// of what came after it, is stored.
func refusedFirst(err error) bool {
	c := status.Code(err)
	return c == codes.NotFound || c == codes.Unauthenticated || c == codes.PermissionDenied
}

// unknownOutcome names the first line that was not answered.
func unknownOutcome(pending []*putBatch, err error) error {
	if len(pending) == 0 {
		s := status.Convert(err)
		return fmt.Errorf("append: %s (%s)", s.Message(), code.Code(s.Code()))
	}
	e := &lineError{pending[0].lines[0], refusalText(err)}
	last := pending[len(pending)-1].lines
	if end := last[len(last)-1]; !refusedFirst(err) && end > e.line {
		e.text += fmt.Sprintf("; of the lines up to %d some may be stored", end)
	}
	return e
}

// read cuts in into batches. What it has is sent on before it waits for more input. A line that
// can't be sent is the error, once the lines before it are sent.
func (p *putting) read(ctx context.Context, in io.Reader, to chan<- *putBatch) error {
	r := bufio.NewReaderSize(in, putBytes)
	b := p.newBatch()
	for number := 1; ; number++ {
		if len(b.lines) > 0 && (b.full() || !lineBuffered(r)) {
			if !hand(ctx, to, b) {
				return ctx.Err()
			}
			b = p.newBatch()
		}
		err := p.readLine(r, b, number)
		if err == nil {
			continue
		}
		if len(b.lines) > 0 && !hand(ctx, to, b) {
			return ctx.Err()
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		return err
	}
}

func hand(ctx context.Context, to chan<- *putBatch, b *putBatch) bool {
	select {
	case to <- b:
		return true
	case <-ctx.Done():
		return false
	}
}

func (p *putting) newBatch() *putBatch {
	return &putBatch{request: &standpipev1.AppendRequest{Stream: p.stream, Ack: standpipev1.Ack_ACK_DURABLE}}
}

func (b *putBatch) full() bool { return len(b.lines) == putLines || b.bytes >= putBytes }

// lineBuffered reports whether a line can be read without waiting for input.
func lineBuffered(r *bufio.Reader) bool {
	buffered, _ := r.Peek(r.Buffered())
	return bytes.IndexByte(buffered, '\n') >= 0
}

// readLine adds the line of that number to b. io.EOF means that there is none.
func (p *putting) readLine(r *bufio.Reader, b *putBatch, number int) error {
	line, err := wholeLine(r)
	if err != nil {
		if errors.Is(err, io.EOF) {
			return err
		}
		return &lineError{number, err.Error()}
	}
	if number == 1 {
		line = bytes.TrimPrefix(line, []byte("\ufeff")) // as many Windows programs write it
	}
	if len(bytes.TrimSpace(line)) == 0 {
		p.blank++
		return nil
	}
	key, err := p.keyOf(line)
	if err != nil {
		return &lineError{number, err.Error()}
	}
	b.request.Events = append(b.request.Events, &standpipev1.Event{PartitionKey: key, Data: line})
	b.lines = append(b.lines, number)
	b.bytes += len(line) + len(key)
	return nil
}

// wholeLine returns the next line without its end, in memory of its own.
func wholeLine(r *bufio.Reader) (line []byte, err error) {
	for {
		part, err := r.ReadSlice('\n')
		if len(line)+len(part) > putLongest {
			return nil, fmt.Errorf("the line has more than %d bytes", putLongest)
		}
		line = append(line, part...)
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err == nil || errors.Is(err, io.EOF) && len(line) > 0:
			line = bytes.TrimSuffix(line, []byte("\n"))
			return bytes.TrimSuffix(line, []byte("\r")), nil
		}
		return nil, err
	}
}

func (p *putting) keyOf(line []byte) (string, error) {
	if p.field == "" {
		return p.key, nil
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(line, &fields); err != nil || fields == nil {
		return "", fmt.Errorf("the line of %d bytes is no JSON object to take field %q from", len(line), p.field)
	}
	value, ok := fields[p.field]
	if !ok {
		return "", fmt.Errorf("field %q is missing", p.field)
	}
	switch c := value[0]; {
	case c == '"':
		var key string
		err := json.Unmarshal(value, &key)
		return key, err
	case c == '-' || '0' <= c && c <= '9':
		return string(value), nil
	}
	return "", fmt.Errorf("field %q is neither a string nor a number", p.field)
}
