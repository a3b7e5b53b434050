package client_test

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	standpipev1 "github.com/standpipe/standpipe/proto/standpipe/v1"
)

// fakeAgent is an agent without a network: it keeps to the contract, recognises producers as the log does, and fails
// when a test requests it.
type fakeAgent struct {
	standpipev1.IngestClient // nil: a test that calls Append panics

	mu       sync.Mutex
	stored   []string          // data, in the order of the log
	next     map[string]uint64 // by producer: the sequence that continues the stored ones
	streams  int               // that were opened
	sent     int               // requests that were sent
	requests []*standpipev1.AppendRequest

	down bool // streams can't be opened
	// admission, when set, is called when a stream is opened; its result is called before each of the stream's requests.
	admission func() func() error
	// rules returns the status that m is refused with; nil: it is not.
	rules func(m *standpipev1.AppendRequest) error
	// cut is called before a request is looked at, and after it is stored: true breaks the connection.
	cut func(stored bool) bool
	// cutBy is how the connection breaks then; nil: errCut.
	cutBy error
	// lose is called after a request is stored: true leaves it without a response.
	lose func() bool
	// hold, when set, is received from before each answer.
	hold chan struct{}
}

func newFakeAgent() *fakeAgent { return &fakeAgent{next: make(map[string]uint64)} }

// refusal is a status as the agent makes it.
func refusal(code codes.Code, reason string, event int, retry time.Duration) error {
	info := &errdetails.ErrorInfo{Reason: reason, Domain: "standpipe"}
	text := "breaks a rule"
	if event >= 0 {
		info.Metadata = map[string]string{"event": fmt.Sprint(event)}
		text = fmt.Sprintf("event %d: breaks a rule", event)
	}
	details := []protoadapt.MessageV1{info}
	if retry > 0 {
		details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(retry)})
	}
	s, err := status.New(code, text).WithDetails(details...)
	if err != nil {
		panic(err)
	}
	return s.Err()
}

var errCut = status.Error(codes.Unavailable, "connection reset")

// AppendStream opens a stream, unless the agent is down.
func (f *fakeAgent) AppendStream(ctx context.Context, _ ...grpc.CallOption) (standpipev1.Ingest_AppendStreamClient, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.streams++
	if f.down {
		return nil, status.Error(codes.Unavailable, "connection refused")
	}
	s := &fakeStream{agent: f, ctx: ctx, sent: make(chan *standpipev1.AppendRequest, 8), answers: make(chan *standpipev1.AppendResponse), ended: make(chan struct{})}
	if f.admission != nil {
		s.admitted = f.admission()
	}
	go s.serve()
	return s, nil
}

// setDown makes the agent be out of reach, or not.
func (f *fakeAgent) setDown(down bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down = down
}

func (f *fakeAgent) log() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.stored)
}

// producers are the ids under which something is stored.
func (f *fakeAgent) producers() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.next)
}

// append does the log's part of a request.
func (f *fakeAgent) append(m *standpipev1.AppendRequest) (*standpipev1.AppendResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.requests = append(f.requests, m)
	if f.rules != nil {
		if err := f.rules(m); err != nil {
			return nil, err
		}
	}
	n := uint64(len(m.Events))
	r := &standpipev1.AppendResponse{Count: uint32(n), Ack: standpipev1.Ack_ACK_DURABLE}
	next, known := f.next[m.ProducerId]
	known = known && m.ProducerId != ""
	switch {
	case known && m.ProducerSequence+n <= next:
		r.Duplicate = true
		return r, nil
	case known && m.ProducerSequence != next:
		return nil, refusal(codes.InvalidArgument, "SEQUENCE", -1, 0)
	}
	f.next[m.ProducerId] = m.ProducerSequence + n
	r.FirstOffset = uint64(len(f.stored)) + 1
	for _, e := range m.Events {
		f.stored = append(f.stored, string(e.Data))
	}
	return r, nil
}

// fakeStream is both ends of an AppendStream.
type fakeStream struct {
	grpc.ClientStream
	agent   *fakeAgent
	ctx     context.Context
	sent    chan *standpipev1.AppendRequest // closed by CloseSend
	answers chan *standpipev1.AppendResponse
	err     error // set before ended is closed
	ended   chan struct{}

	admitted func() error // nil: the stream is admitted
}

func (s *fakeStream) Send(m *standpipev1.AppendRequest) error {
	wire, err := proto.Marshal(m)
	if err != nil {
		return err
	}
	m = new(standpipev1.AppendRequest)
	if err := proto.Unmarshal(wire, m); err != nil {
		return err
	}
	s.agent.mu.Lock()
	s.agent.sent++
	s.agent.mu.Unlock()
	select {
	case s.sent <- m:
		return nil
	case <-s.ended:
		return io.EOF
	}
}

func (s *fakeStream) CloseSend() error {
	close(s.sent)
	return nil
}

func (s *fakeStream) Recv() (*standpipev1.AppendResponse, error) {
	select {
	case r := <-s.answers:
		return r, nil
	case <-s.ended:
		return nil, s.err
	}
}

func (s *fakeStream) serve() {
	s.err = s.answerAll()
	close(s.ended)
}

func (s *fakeStream) answerAll() error {
	for {
		select {
		case m, ok := <-s.sent:
			if !ok {
				return io.EOF
			}
			if err := s.answer(m); err != nil {
				return err
			}
		case <-s.ctx.Done():
			return status.FromContextError(s.ctx.Err()).Err()
		}
	}
}

func (s *fakeStream) answer(m *standpipev1.AppendRequest) error {
	if s.admitted != nil {
		if err := s.admitted(); err != nil {
			return err
		}
	}
	cut := s.agent.cut
	if cut != nil && cut(false) {
		return cmp.Or(s.agent.cutBy, errCut)
	}
	r, err := s.agent.append(m)
	if err != nil {
		return err
	}
	if cut != nil && cut(true) {
		return cmp.Or(s.agent.cutBy, errCut)
	}
	if s.agent.lose != nil && s.agent.lose() {
		return nil
	}
	if s.agent.hold != nil {
		select {
		case <-s.agent.hold:
		case <-s.ctx.Done():
			return status.FromContextError(s.ctx.Err()).Err()
		}
	}
	select {
	case s.answers <- r:
		return nil
	case <-s.ctx.Done():
		return status.FromContextError(s.ctx.Err()).Err()
	}
}
