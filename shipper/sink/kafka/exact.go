package kafka

import (
	"context"
	"crypto/rand"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/ranged"
	"github.com/standpipe/standpipe/wal"
)

const (
	// Limits of a range, which is one transaction.
	rangeBytes   = 16 << 20
	rangeEvents  = 100_000
	defaultDelay = time.Second
	maxDelay     = transactionTimeout / 4 // the rest is for Commit
	// windowBytes is the size of the batches that may wait for their responses.
	windowBytes = 8 << 20
	// linger is the size of a partition's records that are sent before the range ends.
	linger = 256 << 10
	// signTime is the time that an agent needs at most from taking a transactional ID to its first checkpoint.
	signTime = 3 * time.Second
	// showAfter is the time after which batches that are tried again become an error, which the operator sees.
	showAfter = 5 * time.Second
)

// Exact is a topic as a destination that gets each event exactly once: a range is a transaction, in which the brokers
// also keep the checkpoint. It implements ranged.Sink.
//
// The brokers reject an older owner of the transactional ID. But they do so too if they aborted a transaction that took
// too long, and name the same reason. So each checkpoint names the agent that stored it, and an agent stores one before
// its first range. An agent that is rejected takes the ID again only if the last checkpoint is still its own some
// seconds later.
type Exact struct {
	options     ExactOptions
	client      *kgo.Client
	topic       *topic
	encoder     *encoder
	destination string
	agent       string        // drawn for this process
	timeout     time.Duration // of a transaction
	doubt       time.Duration // from the first rejection to the next use of the ID
	doubted     time.Time     // the first rejection that is not explained; zero: none
	unstable    time.Duration // from the end of the last transaction to a checkpoint that hangs
	restarts    *restarts
	describes   bool              // the brokers know DescribeTransactions and DescribeProducers
	ends        map[string]ending // of the last transaction, by transactional ID, as far as it is known
	hangs       bool              // the checkpoint of the ID that is being taken hangs

	// The range under way.
	owners   map[string]owner  // by transactional ID
	previous map[string]string // the agent that stored the checkpoint when this one took the ID; this one: it has stored one since
	fenced   *shipper.Error    // another agent owns the transactional ID; never reset
	producer *producer         // of the current owner; nil: Recover is needed
	branch   wal.Branch        // of the events that the owner delivers
	end      uint64            // the first offset behind that branch; 0: none
	group    *group
	open     map[int32]*batch // not queued yet
	events   int
	bytes    int
	began    time.Time
	next     uint64 // behind the last event
	ending   bool   // the commit of the transaction has been requested

	unfinished unfinished // the last range that was discarded

	mu      sync.Mutex // guards the following; locked after the producer's
	waiting int        // batches without a result
	window  int        // their bytes
	sent    int        // bytes
	failure *ranged.Error
	changed chan struct{} // holds a token after a result
}

// ExactOptions configures an Exact.
type ExactOptions struct {
	Options
	Destination string        // its name; part of the transactional ID
	MaxDelay    time.Duration // the longest time of a range; default 1 s, at most 15 s
	MaxBytes    int           // of a range; default 16 MiB
	Logger      hclog.Logger  // default: none
}

// NewExact returns the destination. It opens no connection.
func NewExact(ctx context.Context, o ExactOptions) (*Exact, error) {
	encoder, err := o.encoder()
	if err != nil {
		return nil, err
	}
	encoder.attributes = transactional
	seen := new(restarts)
	client, err := o.client(ctx, kgo.WithHooks(seen))
	if err != nil {
		return nil, err
	}
	if o.MaxDelay <= 0 {
		o.MaxDelay = defaultDelay
	}
	o.MaxDelay = min(o.MaxDelay, maxDelay)
	if o.MaxBytes <= 0 {
		o.MaxBytes = rangeBytes
	}
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	return &Exact{
		options: o, client: client, topic: newTopic(client, o.Topic), encoder: encoder, destination: o.Destination,
		agent: rand.Text(), timeout: transactionTimeout, doubt: signTime, unstable: unstableFor,
		restarts: seen, ends: make(map[string]ending), owners: make(map[string]owner), previous: make(map[string]string), changed: make(chan struct{}, 1),
	}, nil
}

// Shape changes with the topic's max.message.bytes.
func (s *Exact) Shape() shipper.Shape { return s.options.shape(s.topic.batchLimit()) }

// transactionalID returns the transactional ID, and group, of the events of a branch. A copy of the log and the
// original have the earlier events in common. An agent needs the same ID to deliver those, so the older agent is fenced.
// Later events are of another branch, with an ID of its own.
func (s *Exact) transactionalID(b wal.Branch) string {
	return fmt.Sprintf("standpipe/%s/%s/%s", b.ID, s.options.Stream, s.destination)
}

// Recover takes the right to deliver the events from from on, which fences an older agent, and reads the checkpoint.
func (s *Exact) Recover(ctx context.Context, from uint64, _ []byte) (uint64, *shipper.Error) {
	ctx, cancel := context.WithTimeout(ctx, s.options.timeout())
	defer cancel()
	s.reset()
	if s.fenced != nil {
		return 0, s.fenced
	}
	for {
		branch, end := s.branchAt(from)
		id := s.transactionalID(branch)
		txn, found, err := s.take(ctx, id)
		if err != nil {
			return 0, err
		}
		from = max(from, found.next)
		if err := s.endHanging(ctx, txn, found); err != nil {
			return 0, classify(err, s.topic.name)
		}
		if found.agent != s.agent {
			if err := s.sign(ctx, txn, from); err != nil {
				return 0, classify(err, s.topic.name)
			}
		}
		s.previous[id] = s.agent
		if end > 0 && from >= end {
			from = end
			continue // all of that branch is delivered
		}
		s.branch, s.end = branch, end
		s.producer = newProducer(s.client, s.topic, s.options.timeout())
		s.producer.id, s.producer.epoch, s.producer.txn = txn.producer, txn.epoch, txn
		return from, nil
	}
}

// unfinished is a transaction that was not seen to end.
type unfinished struct {
	id         string
	partitions []int32 // that have records of it
	next       uint64  // behind its last event
}

// sign stores a checkpoint of this agent.
func (s *Exact) sign(ctx context.Context, txn *transaction, next uint64) error {
	if err := txn.note(ctx, checkpoint{next, s.agent}); err != nil {
		return err
	}
	return txn.commit(ctx)
}

// branchAt returns the branch of the event at offset, and the first offset of the next branch; 0: there is none.
func (s *Exact) branchAt(offset uint64) (b wal.Branch, end uint64) {
	for i, b := range s.encoder.branches {
		if i+1 == len(s.encoder.branches) {
			return b, 0
		}
		if next := s.encoder.branches[i+1].First; offset < next {
			return b, next
		}
	}
	return wal.Branch{}, 0
}

// take takes the right to use a transactional ID, and returns its checkpoint. The checkpoint is read after the last
// transaction has ended, so it covers that one if it was committed.
func (s *Exact) take(ctx context.Context, id string) (*transaction, checkpoint, *shipper.Error) {
	var before *owner
	if o, ok := s.owners[id]; ok {
		before = &o
	}
	s.hangs = false
	if ok, err := s.canDescribe(ctx); err != nil {
		return nil, checkpoint{}, classify(err, s.topic.name)
	} else if ok {
		if err := s.inspect(ctx, id); err != nil {
			return nil, checkpoint{}, classify(err, s.topic.name)
		}
	}
	got, err := acquire(ctx, s.client, id, s.timeout, before)
	if before != nil && isFenced(err) {
		last, fault := committed(ctx, s.client, id, s.topic.name, false)
		switch {
		case fault != nil:
			return nil, last, classify(fault, s.topic.name)
		case s.isYounger(id, last.agent):
			return nil, last, s.fence(id, err)
		case s.doubted.IsZero() || time.Since(s.doubted) < s.doubt:
			return nil, last, s.wait(err)
		}
		before = nil
		got, err = acquire(ctx, s.client, id, s.timeout, nil)
	}
	if err != nil {
		return nil, checkpoint{}, classify(err, s.topic.name)
	}
	s.owners[id], s.doubted = got, time.Time{}
	txn := s.transaction(got)
	found, err := s.checkpoint(ctx, txn)
	switch {
	case err != nil:
		return nil, found, classify(err, s.topic.name)
	case before != nil && s.isYounger(id, found.agent):
		return nil, found, s.fence(id, kerr.ProducerFenced) // the brokers let this one in; the other takes the ID again
	}
	if _, known := s.previous[id]; !known {
		s.previous[id] = found.agent
	}
	return txn, found, nil
}

// isYounger reports whether the agent that stored the checkpoint has surely taken the ID after this one.
func (s *Exact) isYounger(id, agent string) bool {
	previous, known := s.previous[id]
	return known && agent != s.agent && agent != previous && agent != "" // "": the checkpoint has expired
}

// transaction returns the transaction of an owner.
func (s *Exact) transaction(o owner) *transaction {
	return &transaction{owner: o, client: s.client, topic: s.topic.name, restarts: s.restarts, describes: s.describes, included: make(map[int32]bool)}
}

// wait returns the error for the time in which a younger agent, if there is one, stores its first checkpoint.
func (s *Exact) wait(err error) *shipper.Error {
	if s.doubted.IsZero() {
		s.doubted = time.Now()
	}
	failure := classify(err, s.topic.name)
	failure.RetryAfter = s.doubt
	return failure
}

// fence ends the work of this agent: it never takes the transactional ID again.
func (s *Exact) fence(id string, err error) *shipper.Error {
	s.fenced = operator(classify(err, s.topic.name).Code, fmt.Sprintf("fenced: another agent with this log, or with a copy of it, delivers under "+
		"the transactional ID %q: stop one of the two, and restart this one if it is to stay", id))
	s.options.Logger.Error("fenced: another agent delivers this log, and this one does not take it back", "stream", s.options.Stream,
		"destination", s.destination, "transactional_id", id)
	return s.fenced
}

// reset discards the range and its producer. Its stored records are part of no committed transaction.
func (s *Exact) reset() {
	if s.producer != nil {
		if s.group != nil {
			s.producer.cancel(s.group)
		}
		s.producer.close()
		if txn := s.producer.txn; len(txn.partitions()) > 0 {
			s.unfinished = unfinished{txn.id, txn.partitions(), s.next}
		}
	}
	s.producer = nil
	s.clearRange()
}

// clearRange makes room for the next range.
func (s *Exact) clearRange() {
	s.group, s.open, s.events, s.bytes, s.next, s.ending = nil, nil, 0, 0, 0, false
	s.began = time.Time{}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting, s.window, s.sent, s.failure = 0, 0, 0, nil
}

// Add sends the events as part of the range's transaction. It waits while too many bytes wait for their responses.
func (s *Exact) Add(ctx context.Context, events []wal.Event) (int, *ranged.Error) {
	if s.producer == nil {
		return 0, restart(&shipper.Error{Class: shipper.Transient, Code: "not recovered", Record: -1})
	}
	ctx, cancel := context.WithTimeout(ctx, s.options.timeout())
	defer cancel()
	leaders, failed := s.topic.lookup(ctx)
	if failed != nil {
		return 0, &ranged.Error{Error: *failed}
	}
	limit := s.topic.batchLimit()
	for i := range events {
		e := &events[i]
		if s.full(e) {
			if s.events == 0 { // the first of another branch
				return i, restart(&shipper.Error{Class: shipper.Transient, Code: "next branch", Text: "the events of a copied log begin", Record: -1})
			}
			return i, nil
		}
		if err := s.room(ctx); err != nil {
			return i, err
		}
		if s.group == nil {
			s.group, s.open, s.began = &group{patient: true, result: s.result}, make(map[int32]*batch), time.Now()
		}
		s.add(e, len(leaders), limit)
	}
	return len(events), nil
}

// full reports whether e belongs to a later range.
func (s *Exact) full(e *wal.Event) bool {
	return s.end > 0 && e.Offset >= s.end || s.events > 0 && (s.bytes+len(e.Data) > s.options.MaxBytes || s.events >= rangeEvents)
}

// add puts the event into the batch of its partition.
func (s *Exact) add(e *wal.Event, partitions, limit int) {
	r := record{key: e.Key, offset: e.Offset, time: e.Time, attributes: e.Attributes, data: e.Data}
	if s.options.Envelope != nil {
		r.data = s.options.Envelope.Append(nil, e)
	}
	at := int32(partitionOf(e.Key, partitions))
	b, size := s.open[at], s.encoder.recordSize(&r)
	if b != nil && len(b.buf)+size > limit {
		s.send(at, b)
		b = nil
	}
	if b == nil {
		b = s.encoder.newBatch()
		s.open[at] = b
	}
	before := len(b.buf)
	b.add(&r, e.Offset)
	s.bytes += len(b.buf) - before
	s.events++
	s.next = e.Offset + 1
	if len(b.buf) >= linger {
		s.send(at, b)
	}
}

// send queues a batch.
func (s *Exact) send(partition int32, b *batch) {
	delete(s.open, partition)
	b.finish()
	s.mu.Lock()
	s.waiting++
	s.window += len(b.buf)
	s.sent += len(b.buf)
	s.mu.Unlock()
	s.producer.enqueue(s.group, queued{partition, b})
}

// result notes the result of a batch. The producer's mutex is held.
func (s *Exact) result(b *batch, err *shipper.Error, poisoned map[int]*shipper.Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting--
	s.window -= len(b.buf)
	if err != nil && (s.failure == nil || s.failure.Class < err.Class && s.failure.Rejected == nil) {
		s.failure = restart(err)
		for i, reason := range poisoned {
			s.failure.Rejected = append(s.failure.Rejected, ranged.Rejection{Offset: b.refs[i], Reason: reason.Error()})
		}
	}
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

func restart(err *shipper.Error) *ranged.Error { return &ranged.Error{Error: *err, Restart: true} }

// room waits until few enough bytes wait for their responses.
func (s *Exact) room(ctx context.Context) *ranged.Error {
	return s.await(ctx, func() bool { return s.window <= windowBytes })
}

// await waits until enough is true, or a batch has failed, or ctx ends, or batches have been tried again for a while.
func (s *Exact) await(ctx context.Context, enough func() bool) *ranged.Error {
	ctx, cancel := context.WithTimeout(ctx, s.options.timeout())
	defer cancel()
	shown := time.NewTimer(showAfter)
	defer shown.Stop()
	for {
		s.mu.Lock()
		failure, ok := s.failure, enough()
		s.mu.Unlock()
		switch {
		case failure != nil:
			return failure
		case ok:
			return nil
		}
		select {
		case <-s.changed:
		case <-shown.C:
			if s.producer.lastError(s.group) != nil {
				return s.lateError(ctx)
			}
		case <-ctx.Done():
			return s.lateError(ctx)
		}
	}
}

// lateError is the error of a range that is not stored in time. Its batches are still tried.
func (s *Exact) lateError(ctx context.Context) *ranged.Error {
	if last := s.producer.lastError(s.group); last != nil {
		return &ranged.Error{Error: *last}
	}
	return &ranged.Error{Error: *classify(ctx.Err(), s.topic.name)}
}

// Due returns the time at which the range has lasted MaxDelay.
func (s *Exact) Due() time.Time {
	if s.events == 0 {
		return time.Time{}
	}
	return s.began.Add(s.options.MaxDelay)
}

// Seal sends the rest of the range. Nothing is stored with the cursor: the brokers have the checkpoint.
func (s *Exact) Seal() []byte {
	for at, b := range s.open {
		s.send(at, b)
	}
	return nil
}

// Commit waits until all batches are stored, adds the checkpoint, and ends the transaction.
func (s *Exact) Commit(ctx context.Context) (ranged.Outcome, *ranged.Error) {
	if s.producer == nil {
		return ranged.Outcome{}, restart(&shipper.Error{Class: shipper.Transient, Code: "not recovered", Record: -1})
	}
	ctx, cancel := context.WithTimeout(ctx, s.options.timeout())
	defer cancel()
	txn := s.producer.txn
	if !s.ending {
		if err := s.await(ctx, func() bool { return s.waiting == 0 }); err != nil {
			return ranged.Outcome{}, err
		}
		if err := txn.note(ctx, checkpoint{s.next, s.agent}); err != nil {
			return ranged.Outcome{}, s.failed(err)
		}
		s.ending = true
	}
	if err := txn.commit(ctx); err != nil {
		return ranged.Outcome{}, s.failed(err)
	}
	requests := s.producer.takeRequests() + 3
	s.mu.Lock()
	out := ranged.Outcome{Requests: requests, Records: s.events, BilledBytes: uint64(s.sent), Code: "ok"}
	s.mu.Unlock()
	s.clearRange()
	return out, nil
}

// failed returns the failure of a request to a coordinator. After one that ends the transaction, Recover finds out
// whether it was committed.
func (s *Exact) failed(err error) *ranged.Error {
	failure := classify(err, s.topic.name)
	return &ranged.Error{Error: *failure, Restart: endsTransaction(failure.Code)}
}

// Abort discards the range. Recover ends the transaction: it begins a new epoch.
func (s *Exact) Abort(context.Context) { s.reset() }

// Close ends the connections. It waits for no broker.
func (s *Exact) Close() error {
	s.reset()
	s.client.Close()
	return nil
}
