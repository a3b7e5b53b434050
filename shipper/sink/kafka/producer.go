package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/standpipe/standpipe/shipper"
)

const (
	lookTimeout = 10 * time.Second
	// requestsAtOnce is the number of requests to one broker. They are for different partitions.
	requestsAtOnce = 2
	// requestBytes is the size of a request at most, unless one batch is larger; brokers take 100 MiB by default.
	requestBytes = 16 << 20
	retryPause   = 100 * time.Millisecond
	// lastEpoch is the greatest producer epoch.
	lastEpoch = 1<<15 - 1
	noID      = -1
)

// producer sends batches to the leaders of their partitions. A partition has one batch under way at a time, so the
// batches of a partition are stored in the order in which they were queued. It is idempotent: a batch whose response is
// lost is sent again with the same sequence number, and the broker stores it once.
type producer struct {
	client  *kgo.Client
	topic   *topic
	timeout time.Duration // of a request
	txn     *transaction  // nil: none

	ctx  context.Context // ends with Close
	stop context.CancelFunc
	done sync.WaitGroup // requests and lookups

	mu         sync.Mutex
	id         int64 // of partitions that begin; noID: to be fetched
	epoch      int16 // the first of that id
	starting   bool  // an id is being fetched
	partitions map[int32]*partition
	requests   map[int32]int // under way, by broker
	sent       int           // requests since takeRequests
	seeking    bool          // a lookup is under way
	timer      *time.Timer   // for the next try of a partition; nil: none
	closed     bool
}

// partition is a partition with batches.
type partition struct {
	id    int32
	queue []*batch
	busy  bool      // the first batch is in a request
	after time.Time // no request before this time

	// The next batch has these, unless the producer has another id by then.
	producer int64
	epoch    int16
	seq      int32
}

// group is the batches that a caller waits for.
type group struct {
	// patient: a batch that is not stored is tried again until the group is canceled. Otherwise it is tried again once.
	patient bool
	// result is called with the result of each batch until the group is canceled, under the producer's mutex. A nil error:
	// the batch is stored. Otherwise poisoned has the errors of single records, by their index in the batch.
	result func(b *batch, err *shipper.Error, poisoned map[int]*shipper.Error)

	// Under the producer's mutex:
	canceled bool
	failed   map[*partition]bool // later batches of a partition are not stored after one that is not
	last     *shipper.Error      // of a batch that is tried again
}

// queued is a batch for a partition.
type queued struct {
	partition int32
	batch     *batch
}

// errBehind is the error of a batch whose predecessor is not stored.
var errBehind = &shipper.Error{Class: shipper.Transient, Code: "not tried", Text: "an earlier batch of the partition failed", Record: -1}

func newProducer(client *kgo.Client, t *topic, timeout time.Duration) *producer {
	p := &producer{
		client: client, topic: t, timeout: timeout, id: noID,
		partitions: make(map[int32]*partition), requests: make(map[int32]int),
	}
	p.ctx, p.stop = context.WithCancel(context.Background())
	return p
}

// close ends all requests and waits for them. Batches that wait get no result.
func (p *producer) close() {
	p.mu.Lock()
	p.closed = true
	if p.timer != nil {
		p.timer.Stop()
	}
	p.mu.Unlock()
	p.stop()
	p.done.Wait()
}

// spawn runs f beside the caller, unless the producer is closed. The mutex is held.
func (p *producer) spawn(f func()) {
	if !p.closed {
		p.done.Go(f)
	}
}

// enqueue queues batches of the group, each behind the others of its partition.
func (p *producer) enqueue(g *group, batches ...queued) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, q := range batches {
		part := p.partitions[q.partition]
		if part == nil {
			part = &partition{id: q.partition, producer: noID}
			p.partitions[q.partition] = part
		}
		q.batch.group = g
		if g.failed[part] {
			p.end(q.batch, errBehind, nil)
			continue
		}
		part.queue = append(part.queue, q.batch)
	}
	p.pump()
}

// end reports the result of a batch.
func (p *producer) end(b *batch, err *shipper.Error, poisoned map[int]*shipper.Error) {
	if b.group.canceled {
		return
	}
	b.group.result(b, err, poisoned)
	if err == nil && b.tries == 0 { // no request has it that was given up
		b.recycle()
	}
}

// cancel ends the wait of a group: batches that no request has are not sent, and the result of the others is ignored.
func (p *producer) cancel(g *group) {
	p.mu.Lock()
	defer p.mu.Unlock()
	g.canceled = true
	for _, part := range p.partitions {
		kept := part.queue[:0]
		for i, b := range part.queue {
			if b.group != g || i == 0 && (part.busy || b.unknown) {
				kept = append(kept, b)
			}
		}
		clear(part.queue[len(kept):])
		part.queue = kept
		p.settleUnknown(part)
	}
	p.pump()
}

// settleUnknown removes the first batch of a partition if no Send waits for it and no request has it. Whether it is stored
// stays unknown. So the partition goes on under a new epoch: a broker rejects the batch if it arrives late.
func (p *producer) settleUnknown(part *partition) {
	if len(part.queue) == 0 || part.busy || !part.queue[0].group.canceled {
		return
	}
	unknown := part.queue[0].unknown
	part.pop()
	if unknown {
		p.renew(part)
	}
}

func (part *partition) pop() {
	part.queue[0] = nil
	part.queue = part.queue[1:]
}

// renew begins a new epoch of the partition. In a transaction an epoch belongs to all partitions, and ends with an abort.
func (p *producer) renew(part *partition) {
	if p.txn != nil {
		return
	}
	if part.epoch == lastEpoch {
		part.producer = noID
		p.id = noID // other partitions go on with theirs until they end their batch
	} else {
		part.epoch++
		part.seq = 0
	}
	if len(part.queue) > 0 {
		part.queue[0].sent = false
	}
}

// pump starts requests for partitions that have a batch. The mutex is held.
func (p *producer) pump() {
	if p.closed || !p.ready() {
		return
	}
	leaders, fresh := p.topic.current()
	if !fresh {
		p.seek()
	}
	if leaders == nil {
		return
	}
	now := time.Now()
	var next time.Time
	byBroker := make(map[int32][]*partition)
	sizes := make(map[int32]int)
	for _, part := range p.partitions {
		if len(part.queue) == 0 || part.busy {
			continue
		}
		if now.Before(part.after) {
			if next.IsZero() || part.after.Before(next) {
				next = part.after
			}
			continue
		}
		leader := int32(noLeader)
		if int(part.id) < len(leaders) {
			leader = leaders[part.id]
		}
		size := len(part.queue[0].buf)
		switch {
		case leader == noLeader:
			p.tryLater(part, &shipper.Error{Class: shipper.Transient, Code: kerr.LeaderNotAvailable.Message, Record: -1,
				Text: fmt.Sprintf("partition %d of topic %q has no leader", part.id, p.topic.name)}, false)
			p.topic.expire()
			p.seek()
			if len(part.queue) > 0 && (next.IsZero() || part.after.Before(next)) {
				next = part.after
			}
		case p.requests[leader] >= requestsAtOnce, sizes[leader] > 0 && sizes[leader]+size > requestBytes:
		default:
			byBroker[leader] = append(byBroker[leader], part)
			sizes[leader] += size
		}
	}
	for leader, parts := range byBroker {
		records := make([][]byte, len(parts)) // the request may not read the queues
		for i, part := range parts {
			part.busy = true
			p.prepare(part)
			records[i] = part.queue[0].buf
		}
		p.requests[leader]++
		p.sent++
		p.spawn(func() { p.send(leader, parts, records) })
	}
	p.wakeAt(next)
}

// wakeAt makes pump run at that time; zero: never.
func (p *producer) wakeAt(next time.Time) {
	if p.timer != nil {
		p.timer.Stop()
		p.timer = nil
	}
	if next.IsZero() {
		return
	}
	p.timer = time.AfterFunc(time.Until(next), func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.pump()
	})
}

// ready reports whether the producer has an id. If not, it fetches one.
func (p *producer) ready() bool {
	if p.id != noID {
		return true
	}
	if p.starting || p.txn != nil {
		return false
	}
	p.starting = true
	p.spawn(func() {
		id, epoch, err := p.fetchID()
		p.mu.Lock()
		defer p.mu.Unlock()
		p.starting = false
		if err != nil {
			p.failAll(err)
			return
		}
		p.id, p.epoch = id, epoch
		p.pump()
	})
	return false
}

func (p *producer) fetchID() (int64, int16, *shipper.Error) {
	ctx, cancel := context.WithTimeout(p.ctx, lookTimeout)
	defer cancel()
	req := kmsg.NewPtrInitProducerIDRequest()
	resp, err := req.RequestWith(ctx, p.client)
	if err == nil {
		err = kerr.ErrorForCode(resp.ErrorCode)
	}
	if err != nil {
		return 0, 0, classify(err, p.topic.name)
	}
	return resp.ProducerID, resp.ProducerEpoch, nil
}

// seek looks the topic up, and pumps afterwards.
func (p *producer) seek() {
	if p.seeking {
		return
	}
	p.seeking = true
	p.spawn(func() {
		_, err := p.topic.lookup(p.ctx)
		p.mu.Lock()
		defer p.mu.Unlock()
		p.seeking = false
		if err != nil {
			p.failAll(err)
			return
		}
		p.pump()
	})
}

// failAll notes a failure for the batches that wait: neither leaders nor an id are to be had.
func (p *producer) failAll(err *shipper.Error) {
	for _, part := range p.partitions {
		for len(part.queue) > 0 && !part.busy {
			waiting := len(part.queue)
			if p.tryLater(part, err, part.queue[0].unknown); len(part.queue) == waiting {
				break
			}
		}
	}
	p.wakeAt(time.Now().Add(retryPause))
}

// prepare stamps the first batch of the partition, unless it was sent before: then it has to be the same.
func (p *producer) prepare(part *partition) {
	b := part.queue[0]
	if b.sent {
		return
	}
	if part.producer != p.id {
		part.producer, part.epoch, part.seq = p.id, p.epoch, 0
	}
	b.sent, b.seq = true, part.seq
	b.stamp(part.producer, part.epoch, b.seq)
}

// send sends the first batch of each of the partitions, whose bytes are records, in one request.
func (p *producer) send(broker int32, parts []*partition, records [][]byte) {
	resp, err := p.request(broker, parts, records)
	results := make(map[int32]*kmsg.ProduceResponseTopicPartition)
	if err == nil {
		for i := range resp.Topics {
			for j := range resp.Topics[i].Partitions {
				r := &resp.Topics[i].Partitions[j]
				results[r.Partition] = r
			}
		}
	}

	p.mu.Lock()
	defer p.mu.Unlock()
	p.requests[broker]--
	for _, part := range parts {
		part.busy = false
		result := results[part.id]
		switch {
		case err != nil:
			p.failed(part, err)
		case result == nil:
			p.failed(part, fmt.Errorf("%w: no result for partition %d", errBadResponse, part.id))
		default:
			p.answered(part, result)
		}
	}
	p.pump()
}

// request sends the request. An error: there is no response.
func (p *producer) request(broker int32, parts []*partition, records [][]byte) (*kmsg.ProduceResponse, error) {
	ctx, cancel := context.WithTimeout(p.ctx, p.timeout)
	defer cancel()
	if p.txn != nil {
		if err := p.txn.include(ctx, p.topic.name, parts); err != nil {
			return nil, &unsentError{err}
		}
	}
	req := kmsg.NewPtrProduceRequest()
	req.Acks = -1
	req.TimeoutMillis = int32(p.timeout.Milliseconds())
	if p.txn != nil {
		req.TransactionID = &p.txn.id
	}
	in := kmsg.NewProduceRequestTopic()
	in.Topic = p.topic.name
	for i, part := range parts {
		b := kmsg.NewProduceRequestTopicPartition()
		b.Partition, b.Records = part.id, records[i]
		in.Partitions = append(in.Partitions, b)
	}
	req.Topics = append(req.Topics, in)
	resp, err := p.client.Broker(int(broker)).Request(ctx, req)
	if err != nil {
		return nil, err
	}
	return resp.(*kmsg.ProduceResponse), nil
}

// unsentError: the batches did not go out.
type unsentError struct{ err error }

func (e *unsentError) Error() string { return e.err.Error() }
func (e *unsentError) Unwrap() error { return e.err }

// failed handles a request without a response for the partition.
func (p *producer) failed(part *partition, err error) {
	p.topic.expire()
	var unsent *unsentError
	b := part.queue[0]
	if !errors.As(err, &unsent) && !neverSent(err) {
		b.unknown = true
	}
	p.tryLater(part, classify(err, p.topic.name), b.unknown)
}

// answered handles the response for the partition's first batch.
func (p *producer) answered(part *partition, r *kmsg.ProduceResponseTopicPartition) {
	b := part.queue[0]
	err := kerr.ErrorForCode(r.ErrorCode)
	var code *kerr.Error
	errors.As(err, &code)
	switch {
	case err == nil, code == kerr.DuplicateSequenceNumber:
		part.seq = nextSequence(b.seq, len(b.refs))
		part.pop()
		b.group.last = nil
		p.end(b, nil, nil)
	case code == nil:
		b.unknown = true
		p.tryLater(part, classify(err, p.topic.name), true)
	case maybeStored(code):
		b.unknown = true
		p.tryLater(part, classify(err, p.topic.name), true)
	case lostSequence(code) && p.txn == nil:
		// The broker has lost the producer's state, or expects another batch. The batch goes on under a new epoch.
		p.renew(part)
		p.tryLater(part, classify(err, p.topic.name), b.unknown)
	case tooLarge(code):
		size := len(b.buf)
		if len(b.refs) > 1 {
			p.topic.rejected(size)
			p.fail(part, &shipper.Error{Class: shipper.Transient, Code: code.Message, Text: "smaller batches follow", Record: -1}, nil)
			return
		}
		text := fmt.Sprintf("the record takes %d bytes, more than the topic's max.message.bytes", size)
		p.fail(part, errBehind, map[int]*shipper.Error{0: poison(code, text)})
	case badRecord(code):
		p.fail(part, errBehind, culprits(code, r, len(b.refs)))
	case notStored(code):
		p.topic.expire()
		p.tryLater(part, classify(err, p.topic.name), b.unknown)
	default:
		b.unknown = true
		p.fail(part, classify(err, p.topic.name), nil)
	}
}

// culprits returns the errors of the records that a broker rejects. If it names none, a record
// that is alone in its batch is meant.
func culprits(code *kerr.Error, r *kmsg.ProduceResponseTopicPartition, n int) map[int]*shipper.Error {
	found := make(map[int]*shipper.Error)
	for _, e := range r.ErrorRecords {
		if i := int(e.RelativeOffset); i >= 0 && i < n {
			found[i] = poison(code, deref(e.ErrorMessage))
		}
	}
	if len(found) == 0 && n == 1 {
		found[0] = poison(code, deref(r.ErrorMessage))
	}
	return found
}

// nextSequence returns the sequence number behind a batch. Sequence numbers wrap at 2^31.
func nextSequence(seq int32, n int) int32 { return int32((int64(seq) + int64(n)) & (1<<31 - 1)) }

// tryLater lets the first batch of the partition be tried again, or fail. A batch that may be stored is tried until its
// group is canceled.
func (p *producer) tryLater(part *partition, err *shipper.Error, unknown bool) {
	b := part.queue[0]
	if b.tries++; b.group.canceled {
		p.settleUnknown(part)
		return
	}
	again := unknown || err.Class != shipper.Operator && (b.group.patient || b.tries == 1)
	if !again || p.txn != nil && endsTransaction(err.Code) {
		p.fail(part, err, nil)
		return
	}
	b.group.last = err
	pause := retryPause << min(max(b.tries-1, 0), 4)
	part.after = time.Now().Add(pause)
}

// fail ends the first batch of the partition, and those of its group behind it. If the batch may be stored, the partition
// goes on under a new epoch: a broker would take a batch with the same sequence numbers for it.
func (p *producer) fail(part *partition, err *shipper.Error, poisoned map[int]*shipper.Error) {
	b := part.queue[0]
	g := b.group
	if g.failed == nil {
		g.failed = make(map[*partition]bool)
	}
	g.failed[part] = true
	part.pop()
	p.end(b, err, poisoned)
	kept := part.queue[:0]
	for _, behind := range part.queue {
		if behind.group == g {
			p.end(behind, errBehind, nil)
			continue
		}
		kept = append(kept, behind)
	}
	clear(part.queue[len(kept):])
	part.queue = kept
	if b.unknown {
		p.renew(part)
	}
}

// takeRequests returns the number of requests since the last call.
func (p *producer) takeRequests() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.sent
	p.sent = 0
	return n
}

// lastError returns the last error of a batch of the group that is tried again, or nil.
func (p *producer) lastError(g *group) *shipper.Error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if g == nil {
		return nil
	}
	return g.last
}
