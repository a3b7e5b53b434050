package ingest_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/standpipe/standpipe/agent/ingest"
	standpipev1 "github.com/standpipe/standpipe/proto/standpipe/v1"
	"github.com/standpipe/standpipe/test/grpckit"
	"github.com/standpipe/standpipe/wal"
)

// fakeLog keeps batches in memory. One goroutine concludes tickets in order, as the log's
// committer does.
type fakeLog struct {
	mu      sync.Mutex
	batches []wal.Batch // stored
	next    uint64
	broken  map[*wal.Chain]bool
	submits int

	refuse  map[int]error // the k-th batch (from 0) is refused with this
	settled error         // the error of WaitSettled
	lost    bool          // WaitSettled: not all was delivered
	hold    chan struct{} // when set, nothing is concluded before it is closed
	stuck   bool          // WaitSettled waits for ctx
	full    bool          // the result of Full

	queue chan *fakeTicket
}

type fakeTicket struct {
	batch  wal.Batch
	number int
	done   chan struct{}
	result wal.Appended
	err    error
}

func newFakeLog(t *testing.T) *fakeLog {
	l := &fakeLog{next: 1, broken: map[*wal.Chain]bool{}, refuse: map[int]error{}, queue: make(chan *fakeTicket, 1<<16)}
	var committer sync.WaitGroup
	committer.Go(func() {
		for ticket := range l.queue {
			if l.hold != nil {
				<-l.hold
			}
			l.conclude(ticket)
		}
	})
	t.Cleanup(func() {
		close(l.queue)
		committer.Wait()
	})
	return l
}

func (l *fakeLog) Submit(ctx context.Context, b *wal.Batch) (ingest.Ticket, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	t := &fakeTicket{batch: *b, done: make(chan struct{})}
	t.batch.Events = slices.Clone(b.Events)
	for i := range t.batch.Events {
		e := &t.batch.Events[i]
		*e = decoded(e)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	t.number = l.submits
	l.submits++
	l.queue <- t
	return t, nil
}

// decoded returns a copy of e that shares no memory with its producer.
func decoded(e *wal.Event) wal.Event {
	if e.Encoded == nil {
		return wal.Event{Key: strings.Clone(e.Key), Data: slices.Clone(e.Data), Time: e.Time, Attributes: maps.Clone(e.Attributes)}
	}
	var m standpipev1.Event
	if err := proto.Unmarshal(e.Encoded, &m); err != nil {
		panic(err)
	}
	return wal.Event{Key: m.PartitionKey, Data: m.Data, Time: e.Time, Attributes: m.Attributes}
}

func (l *fakeLog) conclude(t *fakeTicket) {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer close(t.done)
	if t.batch.Chain != nil && l.broken[t.batch.Chain] {
		t.err = wal.ErrChainBroken
		return
	}
	if t.err = l.refuse[t.number]; t.err != nil {
		if t.batch.Chain != nil {
			l.broken[t.batch.Chain] = true
		}
		return
	}
	t.result = wal.Appended{First: l.next, Count: len(t.batch.Events)}
	l.next += uint64(len(t.batch.Events))
	l.batches = append(l.batches, t.batch)
}

func (l *fakeLog) WaitSettled(ctx context.Context, _ string, _ wal.Appended) (bool, error) {
	if l.stuck {
		<-ctx.Done()
		return false, ctx.Err()
	}
	return !l.lost, l.settled
}

func (l *fakeLog) Full() bool { return l.full }

// stored returns the data of all events that are stored, in order.
func (l *fakeLog) stored() (data []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, b := range l.batches {
		for _, e := range b.Events {
			data = append(data, string(e.Data))
		}
	}
	return data
}

// events returns all events that are stored.
func (l *fakeLog) events() (events []wal.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, b := range l.batches {
		events = append(events, b.Events...)
	}
	return events
}

func (t *fakeTicket) Done() <-chan struct{}         { return t.done }
func (t *fakeTicket) Result() (wal.Appended, error) { return t.result, t.err }
func (t *fakeTicket) Wait(ctx context.Context) (wal.Appended, error) {
	select {
	case <-t.done:
		return t.result, t.err
	case <-ctx.Done():
		return wal.Appended{}, ctx.Err()
	}
}

// streams are the streams of all tests.
type streams map[string]ingest.StreamRules

func (s streams) Lookup(name string) (ingest.StreamRules, error) {
	rules, ok := s[name]
	switch {
	case name == "opening":
		return rules, errors.New("open destination: no such folder")
	case !ok:
		return rules, fmt.Errorf("stream %q: %w", name, ingest.ErrNoStream)
	}
	return rules, nil
}

var testStreams = streams{
	"json":  {Format: ingest.FormatJSON, MaxEventSize: 1000},
	"text":  {Format: ingest.FormatText, MaxEventSize: 1000},
	"bytes": {Format: ingest.FormatBytes},
	"loose": {Format: ingest.FormatBytes, Ack: standpipev1.Ack_ACK_ACCEPTED},
	"bench": {Format: ingest.FormatJSON, MaxEventSize: 1 << 20},
	"roomy": {
		Format: ingest.FormatBytes, MaxEventSize: 1000,
		Room: func(e *wal.Event) (int, string) { return 100 - len(e.Key), `kinesis "live"` },
	},
}

// counts is an Observer.
type counts struct {
	mu       sync.Mutex
	appended int
	refused  map[string]int // by stream and reason

	connected, turnedAway int
}

func (c *counts) Appended(string, time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.appended++
}

func (c *counts) Refused(stream, reason string, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.refused == nil {
		c.refused = map[string]int{}
	}
	c.refused[stream+"/"+reason] += n
}

func (c *counts) Connected(_ string, change int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.connected += change
}

func (c *counts) TurnedAway(string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.turnedAway++
}

// connections are those that are open, and how many were turned away.
func (c *counts) connections() (open, turnedAway int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.connected, c.turnedAway
}

func (c *counts) Lost(stream string, n int) { c.Refused(stream, "lost", n) }

func (c *counts) get() (int, map[string]int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.appended, maps.Clone(c.refused)
}

var testTime = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// serve starts a listener on a unix socket and stops it with the test.
func serve(t *testing.T, o ingest.Options) *ingest.Server {
	t.Helper()
	if o.Streams == nil {
		o.Streams = testStreams
	}
	if o.Network == "" {
		o.Network, o.Address = "unix", socketPath(t)
	}
	o.Clock = func() time.Time { return testTime }
	s, err := ingest.New(o)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(context.Background()) }()
	t.Cleanup(func() {
		stopNow(s)
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return s
}

// stopNow stops s without waiting for deliveries.
func stopNow(s *ingest.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	return s.Stop(ctx)
}

// socketPath is short: a socket's path may have about a hundred bytes.
func socketPath(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "ingest")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "s")
}

// serveGRPC starts a gRPC listener and connects to it.
func serveGRPC(t *testing.T, o ingest.Options) (*ingest.Server, standpipev1.IngestClient) {
	t.Helper()
	o.Type = ingest.GRPC
	s := serve(t, o)
	return s, standpipev1.NewIngestClient(dial(t, s.Addr()))
}

func dial(t *testing.T, at net.Addr) *grpc.ClientConn {
	t.Helper()
	return grpckit.Dial(t, grpckit.Target(at))
}

func event(key, data string) *standpipev1.Event {
	return &standpipev1.Event{PartitionKey: key, Data: []byte(data)}
}

func appendOf(stream string, data ...string) *standpipev1.AppendRequest {
	m := &standpipev1.AppendRequest{Stream: stream}
	for _, d := range data {
		m.Events = append(m.Events, event("k", d))
	}
	return m
}

// submitted is how many batches have come.
func (l *fakeLog) submitted() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.submits
}
