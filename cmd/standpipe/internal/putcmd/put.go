package putcmd

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/standpipe/standpipe/client"
	"github.com/standpipe/standpipe/cmd/standpipe/internal/cli"
	standpipev1 "github.com/standpipe/standpipe/proto/standpipe/v1"
)

const (
	maxLines    = 1000     // most lines of one request
	maxBytes    = 1 << 20  // most bytes of one request, except for a single longer line
	putDepth    = 8        // most requests without a response
	putLongest  = 64 << 20 // most bytes of a line; the agent may have a lower limit
	putLarge    = 4 << 20  // gRPC's default limit of a request
	putHelpText = `Append the lines of FILE, or of standard input, to a stream: one event a line.

The newline, and a carriage return before it, are not part of the event; a last line without a
newline counts; a byte order mark at the beginning and blank lines are skipped. Events of one
partition key stay in order. The key is --key, or the line's JSON field --key-field (a
string or a number), or else the stream's name, which keeps the whole input in order.

Every line is synced to the agent's disk before it counts as stored. At the first rejected line
put stops with exit code 1 and prints its number: the lines before it are stored, the lines after
it are not. Ctrl-C ends it after the responses to the lines on their way, with the same report.

With --resume the same command, given again, goes on where an interrupted one stopped, and stores
no line twice, also one whose response was lost. FILE.put-state holds the position. The lines that
are sent must not change; more lines may follow later. It works for as long as the agent knows a
producer: producer_idle, a week by default.`
)

// New returns the command.
func New() *cobra.Command {
	var p run
	c := &cobra.Command{
		Use:   "put STREAM [FILE]",
		Short: "Append a file's or standard input's lines to a stream",
		Long:  putHelpText,
		Args:  cobra.RangeArgs(1, 2),

		ValidArgsFunction: cli.StreamThenFile,
		RunE: func(c *cobra.Command, args []string) error {
			p.stream = args[0]
			if !c.Flags().Changed("key") {
				p.key = p.stream
			}
			return p.command(c, args[1:])
		},
	}
	c.Flags().StringVar(&p.key, "key", "", "the partition `key` of every event (default: the stream's name)")
	c.Flags().StringVar(&p.field, "key-field", "", "take the key from this JSON `field` of each line, with dots from object to object")
	c.Flags().BoolVar(&p.resume, "resume", false, "go on where an earlier run stopped; needs FILE")
	p.dial.Flags(c, "gRPC", cli.DefaultIngestAddress)
	c.MarkFlagsMutuallyExclusive("key", "key-field")
	return c
}

// run is one run of put. It has its own pipeline instead of a client.Publisher, because it stops at the first rejected line
// and reports its number.
type run struct {
	stream, key, field string
	resume             bool
	dial               cli.DialFlags

	client standpipev1.IngestClient
	stored uint64
	last   int             // the last line that is stored
	blank  int             // skipped lines; owned by the reading goroutine until it ends
	prefix prefix          // owned by the reading goroutine
	state  *stateFile      // nil: without --resume
	meter  meter           // on a terminal
	stop   <-chan struct{} // closed by an interruption: no more lines are sent
}

// batch is the events of one request, with their line numbers in the input.
type batch struct {
	request *standpipev1.AppendRequest
	lines   []int
	bytes   int    // of data and keys
	input   int64  // bytes of the input
	sum     string // of the input up to the last of lines; with --resume
}

// lineError is the reason why a line was not stored.
type lineError struct {
	line int
	text string
}

func (e *lineError) Error() string { return fmt.Sprintf("line %d: %s", e.line, e.text) }

func (p *run) command(c *cobra.Command, files []string) error {
	in := c.InOrStdin()
	named := len(files) > 0 && files[0] != "-"
	if named {
		f, err := os.Open(files[0])
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
			p.meter.size = info.Size()
		}
	}
	if p.resume && !named {
		return &cli.ExitError{Code: cli.ExitUsage, Err: errors.New("put: --resume needs a FILE, whose lines it can read again")}
	}
	if cli.ScreenOf(c.ErrOrStderr()).Terminal {
		p.meter.out = c.ErrOrStderr()
	}
	options, err := p.dial.Options()
	if err != nil {
		return err
	}
	conn, err := client.Connect(p.dial.Address, options)
	if err != nil {
		return err
	}
	defer conn.Close()
	p.client = standpipev1.NewIngestClient(conn)
	if p.resume {
		if p.state, err = openState(files[0], p.stream); err != nil {
			return err
		}
		p.last = p.state.now.Lines
	}
	p.prefix = newPrefix(p.state)
	interrupted, restore := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
	defer restore()
	defer context.AfterFunc(interrupted, restore)() // a second signal ends the program
	p.stop = interrupted.Done()
	err = p.run(c.Context(), in)
	p.meter.clear()
	if p.state != nil {
		err = errors.Join(err, p.state.write())
	}
	p.report(c.OutOrStdout(), err == nil && !p.interrupted())
	switch {
	case err != nil:
		return cli.Hint(fmt.Errorf("%w (%s stored before it)", err, cli.Number(p.stored, "event")))
	case p.interrupted():
		return fmt.Errorf("interrupted: the lines up to %d are stored%s", p.last, p.goOn(named))
	}
	return nil
}

// goOn returns the end of the message of an interruption.
func (p *run) goOn(named bool) string {
	switch {
	case p.resume:
		return "; the same command goes on behind them"
	case named:
		return ", the lines behind them are not; with --resume, put would go on behind them"
	}
	return ", the lines behind them are not"
}

// interrupted reports whether no more lines are sent.
func (p *run) interrupted() bool {
	select {
	case <-p.stop:
		return true
	default:
		return false
	}
}

// noteStored counts a stored batch.
func (p *run) noteStored(b *batch, events uint64) {
	p.stored += events
	p.last = b.lines[len(b.lines)-1]
	if p.state != nil {
		p.state.note(b)
	}
	p.meter.note(b, p.stored)
}

func (p *run) report(out io.Writer, whole bool) {
	text := "stored " + cli.Number(p.stored, "event")
	if whole && p.blank > 0 {
		text += ", skipped " + cli.Number(uint64(p.blank), "empty line")
	}
	fmt.Fprintln(out, text)
}

// run stores the lines of in. The reading goroutine may outlive it if a read of a terminal blocks.
func (p *run) run(ctx context.Context, in io.Reader) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	batches := make(chan *batch)
	var readErr error // set before batches is closed
	go func() {
		defer close(batches)
		readErr = p.read(ctx, in, batches)
	}()
	pending, err := p.pipeline(ctx, batches)
	if err != nil {
		err = p.explain(ctx, pending, batches, err)
	}
	if err != nil || p.interrupted() { // the reading goroutine may still wait
		return err
	}
	return readErr
}

// pipeline sends batches over one AppendStream until the batches or the stream end. It returns the batches without a
// response.
func (p *run) pipeline(ctx context.Context, batches <-chan *batch) (pending []*batch, err error) {
	stream, err := p.client.AppendStream(ctx)
	if err != nil {
		return nil, err
	}
	responses := make(chan *standpipev1.AppendResponse)
	var ended error // set before responses is closed
	go func() {
		defer close(responses)
		ended = receiveResponses(ctx, stream, responses)
	}()
	// gRPC ends a stream at a request over the listener's limit at once, without the responses to earlier requests. A large
	// batch therefore waits for them: otherwise explain would send stored lines again.
	var large *batch
	stop := p.stop
	for source := batches; ; {
		if large != nil && len(pending) == 0 {
			pending, large = append(pending, large), nil
			stream.Send(pending[0].request)
		}
		take := source
		if len(pending) == putDepth || large != nil {
			take = nil
		}
		select {
		case b, ok := <-take:
			if !ok {
				source = nil
				stream.CloseSend()
				continue
			}
			if b.bytes > putLarge {
				large = b
				continue
			}
			pending = append(pending, b)
			stream.Send(b.request) // receiveResponses returns the error
		case <-stop: // the batches on their way are still answered
			source, large, stop = nil, nil, nil
			stream.CloseSend()
		case r, ok := <-responses:
			if !ok {
				if large != nil {
					pending = append(pending, large)
				}
				return pending, streamEnd(ended, len(pending))
			}
			p.noteStored(pending[0], uint64(r.Count))
			pending = pending[1:]
		}
	}
}

type responseStream = grpc.BidiStreamingClient[standpipev1.AppendRequest, standpipev1.AppendResponse]

func receiveResponses(ctx context.Context, stream responseStream, to chan<- *standpipev1.AppendResponse) error {
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
		return status.Errorf(codes.Unavailable, "the agent ended the stream with %d requests without a response", unanswered)
	}
	return nil
}

// explain finds the rejected line among the batches without a response. The agent rejects a whole batch, so explain sends the
// first of them again line by line. If every line is accepted (the request was too large for the listener, or the log has
// space again), the other batches follow one by one.
func (p *run) explain(ctx context.Context, pending []*batch, rest <-chan *batch, err error) error {
	if !refusedWhole(err) || len(pending) == 0 {
		return unknownOutcome(pending, err)
	}
	if err := p.sendSingly(ctx, pending[0]); err != nil {
		return err
	}
	for _, b := range pending[1:] {
		if err := p.sendWhole(ctx, b); err != nil {
			return err
		}
	}
	for {
		select {
		case <-p.stop:
			return nil
		case b, ok := <-rest:
			if !ok {
				return nil
			}
			if err := p.sendWhole(ctx, b); err != nil {
				return err
			}
		}
	}
}

// refusedWhole reports whether a single line of the request or its size may be the cause of err.
func refusedWhole(err error) bool {
	c := status.Code(err)
	return c == codes.InvalidArgument || c == codes.ResourceExhausted
}

func (p *run) sendWhole(ctx context.Context, b *batch) error {
	r, err := p.client.Append(ctx, b.request)
	switch {
	case err == nil:
		p.noteStored(b, uint64(r.Count))
		return nil
	case refusedWhole(err):
		return p.sendSingly(ctx, b)
	}
	return unknownOutcome([]*batch{b}, err)
}

func (p *run) sendSingly(ctx context.Context, b *batch) error {
	for i, e := range b.request.Events {
		one := &standpipev1.AppendRequest{Stream: p.stream, Events: []*standpipev1.Event{e}, Ack: b.request.Ack}
		p.number(one, b.lines[i], b.lines[i])
		if _, err := p.client.Append(ctx, one); err != nil {
			return &lineError{b.lines[i], refusalText(err)}
		}
		p.stored++
		p.last = b.lines[i]
	}
	if p.state != nil {
		p.state.note(b)
	}
	return nil
}

// refusalText returns the error without the event's index, since the line number replaces it.
func refusalText(err error) string {
	s := status.Convert(err)
	return fmt.Sprintf("%s (%s)", strings.TrimPrefix(s.Message(), "event 0: "), code.Code(s.Code()))
}

// refusedFirst reports whether the agent rejected the call before it read the events. No event of this request or of a later
// one is stored then.
func refusedFirst(err error) bool {
	c := status.Code(err)
	return c == codes.NotFound || c == codes.Unauthenticated || c == codes.PermissionDenied
}

// unknownOutcome returns an error with the first line without a response.
func unknownOutcome(pending []*batch, err error) error {
	if len(pending) == 0 {
		s := status.Convert(err)
		return fmt.Errorf("append: %s (%s)", s.Message(), code.Code(s.Code()))
	}
	e := &lineError{pending[0].lines[0], refusalText(err)}
	last := pending[len(pending)-1].lines
	if end := last[len(last)-1]; !refusedFirst(err) && end > e.line {
		e.text += fmt.Sprintf("; some of the lines up to %d may be stored", end)
	}
	return e
}

// read splits in into batches. It passes on an incomplete batch before it waits for more input. After an invalid line it
// passes on the lines before it and returns the error.
func (p *run) read(ctx context.Context, in io.Reader, to chan<- *batch) error {
	r := bufio.NewReaderSize(in, maxBytes)
	b := p.newBatch()
	for number := 1; ; number++ {
		if len(b.lines) > 0 && (b.full() || !lineBuffered(r)) {
			if !p.enqueue(ctx, to, b) {
				return ctx.Err()
			}
			b = p.newBatch()
		}
		err := p.readLine(r, b, number)
		if err == nil {
			continue
		}
		if len(b.lines) > 0 && !p.enqueue(ctx, to, b) {
			return ctx.Err()
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		return err
	}
}

// number gives the events of a request the numbers of their lines, with --resume. The lines between them are empty.
func (p *run) number(r *standpipev1.AppendRequest, first, last int) {
	if p.state != nil {
		r.ProducerId, r.ProducerSequence, r.ProducerNext = p.state.now.Producer, uint64(first), uint64(last)+1
	}
}

func (p *run) enqueue(ctx context.Context, to chan<- *batch, b *batch) bool {
	p.number(b.request, b.lines[0], b.lines[len(b.lines)-1])
	select {
	case to <- b:
		return true
	case <-ctx.Done():
		return false
	}
}

func (p *run) newBatch() *batch {
	return &batch{request: &standpipev1.AppendRequest{Stream: p.stream, Ack: standpipev1.Ack_ACK_DURABLE}}
}

func (b *batch) full() bool { return len(b.lines) == maxLines || b.bytes >= maxBytes }

// lineBuffered reports whether r has a whole line in its buffer.
func lineBuffered(r *bufio.Reader) bool {
	buffered, _ := r.Peek(r.Buffered())
	return bytes.IndexByte(buffered, '\n') >= 0
}

// readLine adds the next line to b. It returns io.EOF at the end of the input.
func (p *run) readLine(r *bufio.Reader, b *batch, number int) error {
	line, err := wholeLine(r)
	if err != nil {
		if errors.Is(err, io.EOF) && number <= p.prefix.skip {
			return &lineError{number, errChanged.Error()}
		}
		if errors.Is(err, io.EOF) {
			return err
		}
		return &lineError{number, err.Error()}
	}
	b.input += int64(len(line)) + 1
	if stored, err := p.prefix.add(line, number); err != nil {
		return &lineError{number, err.Error()}
	} else if stored {
		return nil
	}
	if number == 1 {
		line = bytes.TrimPrefix(line, []byte("\ufeff")) // written by many Windows programs
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
	b.sum = p.prefix.sum()
	b.bytes += len(line) + len(key)
	return nil
}

// wholeLine returns the next line without its end, in new memory.
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

func (p *run) keyOf(line []byte) (string, error) {
	if p.field == "" {
		return p.key, nil
	}
	value := json.RawMessage(line)
	for name, rest := p.field, ""; ; {
		var fields map[string]json.RawMessage
		if err := json.Unmarshal(value, &fields); err != nil || fields == nil {
			return "", fmt.Errorf("the line of %d bytes has no JSON object with field %q", len(line), p.field)
		}
		inner, ok := fields[name] // a name may contain a dot
		if !ok {
			name, rest, _ = strings.Cut(name, ".")
			if inner, ok = fields[name]; !ok || rest == "" {
				return "", fmt.Errorf("field %q is missing", p.field)
			}
		}
		if value, name, rest = inner, rest, ""; name == "" {
			break
		}
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
