package kafka

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/sink/internal/failure"
)

// Sink is a topic as a destination that gets each event at least once.
type Sink struct {
	options  Options
	client   *kgo.Client
	topic    *topic
	encoder  *encoder
	producer *producer
}

// New returns the destination. It opens no connection.
func New(ctx context.Context, o Options) (*Sink, error) {
	encoder, err := o.encoder()
	if err != nil {
		return nil, err
	}
	client, err := o.client(ctx)
	if err != nil {
		return nil, err
	}
	s := &Sink{options: o, client: client, topic: newTopic(client, o.Topic), encoder: encoder}
	s.producer = newProducer(client, s.topic, o.timeout())
	return s, nil
}

func (o *Options) timeout() time.Duration {
	if o.Timeout > 0 {
		return o.Timeout
	}
	return defaultTimeout
}

// Shape changes with the topic's max.message.bytes.
func (s *Sink) Shape() shipper.Shape { return s.options.shape(s.topic.batchLimit()) }

// Send sends the records to the leaders of their partitions. The records of a key are in one partition, in their order: if
// one of them is not stored, none behind it is.
func (s *Sink) Send(ctx context.Context, records []shipper.Record) shipper.Response {
	if err := ctx.Err(); err != nil {
		return failedResponse(classify(err, s.topic.name))
	}
	leaders, err := s.topic.lookup(ctx)
	if err != nil {
		return failedResponse(err)
	}
	batches, sent := s.batches(records, len(leaders))
	d := &delivery{results: make([]*shipper.Error, len(records)), left: len(batches), ended: make(chan struct{})}
	g := &group{result: d.result}
	s.producer.enqueue(g, batches...)
	select {
	case <-d.ended:
	case <-ctx.Done():
		s.producer.cancel(g)
		d.giveUp(batches, s.producer.lastError(g), classify(ctx.Err(), s.topic.name))
	}
	return d.response(sent)
}

// batches distributes the records to batches, in their order for each partition.
func (s *Sink) batches(records []shipper.Record, partitions int) (all []queued, bytes int) {
	limit := s.topic.batchLimit()
	open := make([]*batch, partitions)
	for i := range records {
		r := recordOf(&records[i])
		at := partitionOf(r.key, partitions)
		b := open[at]
		if b == nil || len(b.buf)+s.encoder.recordSize(&r) > limit {
			b = s.encoder.newBatch()
			open[at] = b
			all = append(all, queued{int32(at), b})
		}
		b.add(&r, uint64(i))
	}
	for _, q := range all {
		q.batch.finish()
		bytes += len(q.batch.buf)
	}
	return all, bytes
}

func recordOf(r *shipper.Record) record {
	out := record{key: r.Key, offset: r.First, data: r.Data}
	if r.Event != nil {
		out.time, out.attributes = r.Event.Time, r.Event.Attributes
	}
	return out
}

// delivery gathers the results of a Send. The producer's mutex guards it until ended is closed or the group is canceled.
type delivery struct {
	results []*shipper.Error
	left    int // batches
	failed  int // records
	done    map[*batch]bool
	ended   chan struct{}
}

// result notes the result of a batch.
func (d *delivery) result(b *batch, err *shipper.Error, poisoned map[int]*shipper.Error) {
	if err != nil {
		for i, ref := range b.refs {
			d.results[ref] = err
			if bad := poisoned[i]; bad != nil {
				d.results[ref] = bad
			}
		}
		d.failed += len(b.refs)
	}
	if d.done == nil {
		d.done = make(map[*batch]bool)
	}
	d.done[b] = true
	if d.left--; d.left == 0 {
		close(d.ended)
	}
}

// giveUp gives the batches without a result the error that they had last, or that of the context.
func (d *delivery) giveUp(batches []queued, last, ended *shipper.Error) {
	if last != nil && ended.Code == failure.CodeTimeout {
		ended = &shipper.Error{Class: last.Class, Code: failure.CodeTimeout, Text: last.Error(), Record: -1}
	}
	for _, q := range batches {
		if d.done[q.batch] {
			continue
		}
		for _, ref := range q.batch.refs {
			d.results[ref] = ended
		}
		d.failed += len(q.batch.refs)
	}
}

// response returns the response to the Send. If no record is stored, and no record is at fault, the request failed.
func (d *delivery) response(sent int) shipper.Response {
	r := shipper.Response{Results: d.results, Code: "ok", Sent: sent}
	if d.failed < len(d.results) {
		return r
	}
	worst := d.results[0]
	for _, err := range d.results {
		switch {
		case err.Class == shipper.Poison:
			return r
		case worst == errBehind || err != errBehind && err.Class > worst.Class:
			worst = err
		}
	}
	return failedResponse(worst)
}

func failedResponse(err *shipper.Error) shipper.Response {
	return shipper.Response{Err: err, Code: err.Code}
}

// Close ends the connections. It waits for no broker.
func (s *Sink) Close() error {
	s.producer.close()
	s.client.Close()
	return nil
}
