package kinesis

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/smithy-go"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/sink/internal/awsclient"
	"github.com/standpipe/standpipe/shipper/sink/internal/failure"
)

// putStrict sends one record with the sequence number of its key's previous record. "Guarantees strictly increasing
// sequence numbers, for puts from the same client and to the same partition key": PutRecord, SequenceNumberForOrdering,
// Kinesis Data Streams API Reference, November 2026.
func (k *Sink) putStrict(ctx context.Context, batch []shipper.Record) shipper.Response {
	if len(batch) != 1 {
		reason := fmt.Sprintf("%d records in a batch of strict order, which holds 1", len(batch))
		return shipper.Response{Err: &shipper.Error{Code: "batch", Text: reason, Record: -1}, Code: "refused"}
	}
	r := &batch[0]
	in := &kinesis.PutRecordInput{PartitionKey: &r.Key, Data: awsclient.Payload(r.Data)}
	in.StreamName, in.StreamARN = k.named()
	last := k.sequences.last(r.Key)
	if last != "" {
		in.SequenceNumberForOrdering = &last
	}
	out, err := k.client.PutRecord(ctx, in)
	if err != nil {
		return k.refusedStrict(err, batch, last)
	}
	number := aws.ToString(out.SequenceNumber)
	if number == "" {
		return awsclient.BadResponse("a record without a sequence number")
	}
	k.sequences.note(r.Key, number)
	reply := shipper.Response{Results: make([]*shipper.Error, 1), Code: "200"}
	k.landed(ctx, batch, []*string{out.ShardId}, &reply)
	return reply
}

// refusedStrict returns the response to a PutRecord that failed. It reports errors that a shard may have caused for the
// record, as PutRecords does: a throttled or failing shard holds back its own lanes, not the whole destination. If the
// service rejects a record that named a previous sequence number, that number may be the cause, for example because the
// stream was deleted and created again. The record is retried without it before it counts as poison.
func (k *Sink) refusedStrict(err error, batch []shipper.Record, last string) shipper.Response {
	reply := awsclient.FailedResponse(err, batch)
	var api smithy.APIError
	if reply.Code == failure.CodeCredentials || !errors.As(err, &api) {
		return reply
	}
	ofRecord := ofShard[reply.Err.Code]
	if reply.Err.Class == shipper.Poison && last != "" && !aboutLength(reply.Err) {
		k.sequences.forget(batch[0].Key)
		reply.Err.Class, ofRecord = shipper.Transient, true
	}
	if reply.Err.Class == shipper.Throttled {
		k.shards.ask()
	}
	if ofRecord {
		return shipper.Response{Results: []*shipper.Error{reply.Err}, Code: reply.Code}
	}
	return reply
}

// ofShard holds the codes that a shard's state may cause; PutRecords reports them for single records (Kinesis Data
// Streams API Reference, November 2026). All other codes, above all those of a 503, concern every request.
var ofShard = map[string]bool{
	"ProvisionedThroughputExceededException": true,
	"KMSThrottlingException":                 true,
	"InternalFailure":                        true,
	"InternalFailureException":               true,
}

// mostSequences bounds the number of keys whose last sequence number is kept: about 20 MB in all with keys of the
// longest kind. The next record of an evicted key goes out without the guarantee, but long after its last record was
// acknowledged.
const mostSequences = 16384

// sequences holds the last sequence numbers of the most recently put keys. Its zero value is empty.
type sequences struct {
	mu    sync.Mutex
	byKey map[string]*list.Element // guarded by mu
	order list.List                // of sequence values, newest first; guarded by mu
}

type sequence struct{ key, number string }

// last returns the sequence number of the key's last record, or "" if it is unknown.
func (s *sequences) last(key string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.byKey[key]; e != nil {
		return e.Value.(sequence).number
	}
	return ""
}

// note stores the sequence number of the key's last record.
func (s *sequences) note(key, number string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.byKey[key]; e != nil {
		e.Value = sequence{key, number}
		s.order.MoveToFront(e)
		return
	}
	if s.byKey == nil {
		s.byKey = make(map[string]*list.Element)
	}
	s.byKey[key] = s.order.PushFront(sequence{key, number})
	if s.order.Len() > mostSequences {
		s.dropLocked(s.order.Back())
	}
}

func (s *sequences) forget(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.byKey[key]; e != nil {
		s.dropLocked(e)
	}
}

func (s *sequences) dropLocked(e *list.Element) {
	delete(s.byKey, e.Value.(sequence).key)
	s.order.Remove(e)
}
