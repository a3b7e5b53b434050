package ingestkit

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/standpipe/standpipe/agent/ingest"
	standpipev1 "github.com/standpipe/standpipe/proto/standpipe/v1"
	"github.com/standpipe/standpipe/wal"
)

// Log keeps batches in memory. One goroutine concludes tickets in order, as the log's committer does.
type Log struct {
	mu      sync.Mutex
	Batches []wal.Batch // stored
	next    uint64
	broken  map[*wal.Chain]bool
	submits int

	Refuse map[int]error // the k-th batch (from 0) is refused with this

	Lost   bool          // WaitSettled: not all was delivered
	Hold   chan struct{} // when set, nothing is concluded before it is closed
	Stuck  bool          // WaitSettled waits for ctx
	IsFull bool          // the result of Full

	receipts []wal.Receipt // the oldest first; guarded by mu
	discards sync.Mutex    // held while no receipts are discarded

	queue chan *ticket
}

type ticket struct {
	batch  wal.Batch
	number int
	owner  string // of the receipts that are discarded; empty: the ticket is a batch
	ids    []uint64
	done   chan struct{}
	result wal.Appended
	err    error
}

// NewLog returns a log whose goroutine ends with the test.
func NewLog(t *testing.T) *Log {
	l := &Log{next: 1, broken: map[*wal.Chain]bool{}, Refuse: map[int]error{}, queue: make(chan *ticket, 1<<16)}
	var committer sync.WaitGroup
	committer.Go(func() {
		for ticket := range l.queue {
			if l.Hold != nil {
				<-l.Hold
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

// Submit copies the batch. The ticket is concluded later.
func (l *Log) Submit(ctx context.Context, b *wal.Batch) (ingest.Ticket, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	t := &ticket{batch: *b, done: make(chan struct{})}
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

func (l *Log) conclude(t *ticket) {
	if t.owner != "" {
		l.discards.Lock()
		defer l.discards.Unlock()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	defer close(t.done)
	if t.owner != "" {
		l.removeReceipts(t.owner, t.ids)
		return
	}
	if t.batch.Chain != nil && l.broken[t.batch.Chain] {
		t.err = wal.ErrChainBroken
		return
	}
	if t.err = l.Refuse[t.number]; t.err != nil {
		if t.batch.Chain != nil {
			l.broken[t.batch.Chain] = true
		}
		return
	}
	t.result = wal.Appended{First: l.next, Count: len(t.batch.Events)}
	l.next += uint64(len(t.batch.Events))
	l.Batches = append(l.Batches, t.batch)
	if r := t.batch.Receipt; r.Owner != "" {
		r.Stream, r.First = t.batch.Stream, t.result.First
		l.removeReceipts(r.Owner, []uint64{r.ID})
		l.receipts = append(l.receipts, r)
	}
}

func (l *Log) removeReceipts(owner string, ids []uint64) {
	l.receipts = slices.DeleteFunc(l.receipts, func(r wal.Receipt) bool {
		return r.Owner == owner && (len(ids) == 0 || slices.Contains(ids, r.ID))
	})
}

// HoldDiscards begins or ends a time in which no receipts are discarded, and nothing behind them is concluded.
func (l *Log) HoldDiscards(hold bool) {
	if hold {
		l.discards.Lock()
	} else {
		l.discards.Unlock()
	}
}

// Receipts returns the receipts of an owner.
func (l *Log) Receipts(owner string) (all []wal.Receipt) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.receipts {
		if r.Owner == owner {
			all = append(all, r)
		}
	}
	return all
}

// DiscardReceipts discards receipts. The ticket is concluded later.
func (l *Log) DiscardReceipts(owner string, ids ...uint64) (ingest.Ticket, error) {
	t := &ticket{owner: owner, ids: ids, done: make(chan struct{})}
	l.queue <- t
	return t, nil
}

// WaitSettled waits as Stuck requests and reports as Lost requests.
func (l *Log) WaitSettled(ctx context.Context, _ string, _ wal.Appended) (bool, error) {
	if l.Stuck {
		<-ctx.Done()
		return false, ctx.Err()
	}
	return !l.Lost, nil
}

// Full returns IsFull.
func (l *Log) Full() bool { return l.IsFull }

// Stored returns the data of all stored events, in order.
func (l *Log) Stored() (data []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, b := range l.Batches {
		for _, e := range b.Events {
			data = append(data, string(e.Data))
		}
	}
	return data
}

// Events returns all stored events.
func (l *Log) Events() (events []wal.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, b := range l.Batches {
		events = append(events, b.Events...)
	}
	return events
}

// Done is closed when the batch is stored or rejected.
func (t *ticket) Done() <-chan struct{} { return t.done }

// Result returns the outcome after Done.
func (t *ticket) Result() (wal.Appended, error) { return t.result, t.err }

// Hurry implements intake.Ticket: no batch waits for others.
func (t *ticket) Hurry() {}

// Wait waits for the outcome or the end of ctx.
func (t *ticket) Wait(ctx context.Context) (wal.Appended, error) {
	select {
	case <-t.done:
		return t.result, t.err
	case <-ctx.Done():
		return wal.Appended{}, ctx.Err()
	}
}

// Submitted returns the number of submitted batches.
func (l *Log) Submitted() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.submits
}

// GatedLog accepts nothing until Gate is closed.
type GatedLog struct {
	*Log
	Gate chan struct{}
}

// Submit waits for the gate.
func (l *GatedLog) Submit(ctx context.Context, b *wal.Batch) (ingest.Ticket, error) {
	select {
	case <-l.Gate:
		return l.Log.Submit(ctx, b)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// AwaitSubmitted waits until n batches have been submitted.
func AwaitSubmitted(t *testing.T, l *Log, n int) {
	t.Helper()
	for t.Context().Err() == nil {
		if l.Submitted() >= n {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// Discard is a log without any cost, so that a benchmark measures the listener.
type Discard struct{}

var doneNow = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

// Submit keeps nothing.
func (d *Discard) Submit(_ context.Context, b *wal.Batch) (ingest.Ticket, error) {
	return discarded(len(b.Events)), nil
}

// WaitSettled reports success.
func (d *Discard) WaitSettled(context.Context, string, wal.Appended) (bool, error) { return true, nil }

// Receipts returns none.
func (d *Discard) Receipts(string) []wal.Receipt { return nil }

// DiscardReceipts keeps nothing.
func (d *Discard) DiscardReceipts(string, ...uint64) (ingest.Ticket, error) { return discarded(0), nil }

// Full returns false.
func (d *Discard) Full() bool { return false }

type discarded int

// Done is closed.
func (discarded) Done() <-chan struct{} { return doneNow }

// Result returns the number of events.
func (n discarded) Result() (wal.Appended, error) { return wal.Appended{First: 1, Count: int(n)}, nil }
func (n discarded) Hurry()                        {}

// Wait returns Result.
func (n discarded) Wait(context.Context) (wal.Appended, error) {
	return n.Result()
}
