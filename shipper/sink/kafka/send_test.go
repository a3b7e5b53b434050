package kafka_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/sink/kafka"
)

func TestSend_PutsTheEventIntoTheRecord(t *testing.T) {
	f := startFake(t, 8)
	for _, compression := range []string{"", "none", "gzip", "snappy", "lz4", "zstd"} {
		t.Run("compression "+compression, func(t *testing.T) {
			s := f.open(func(o *kafka.Options) { o.Compression = compression })
			before := len(f.records())
			events := drawEvents(t, 500)
			mustSend(t, s, events)
			got := f.records()
			if len(got)-before != len(events) {
				t.Fatalf("got %d records, want %d", len(got)-before, len(events))
			}
			checkRecords(t, got, events, 8)
		})
	}
}

func TestSend_ReturnsWithItsContext(t *testing.T) {
	f := startFake(t, 1)
	s := f.open()
	mustSend(t, s, drawEvents(t, 1))
	f.ControlKey(0, func(kmsg.Request) (kmsg.Response, error, bool) {
		f.SleepControl(func() { <-t.Context().Done() })
		return nil, nil, false
	})
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	got := s.Send(ctx, recordsOf(drawEvents(t, 10)))
	if got.Err == nil || got.Err.Class != shipper.Transient || got.Err.Code != "timeout" {
		t.Errorf("got %+v", got)
	}
}

func mustSend(t *testing.T, s shipper.Sink, events []event) {
	t.Helper()
	got := s.Send(t.Context(), recordsOf(events))
	if got.Err != nil {
		t.Fatal(got.Err)
	}
	for i, err := range got.Results {
		if err != nil {
			t.Fatalf("record %d: %v", i, err)
		}
	}
}

// A batch without a good response is sent again, and stored once, whether or not the broker has it.
func TestSend_StoresOnceWhatIsSentAgain(t *testing.T) {
	for name, lose := range map[string]func(f *fake){
		"timed out":             func(f *fake) { f.fail(kerr.RequestTimedOut, 2) },
		"too few replicas":      func(f *fake) { f.fail(kerr.NotEnoughReplicasAfterAppend, 2) },
		"stored, but timed out": func(f *fake) { f.storeAndAnswer(kerr.RequestTimedOut) },
		"connection is cut":     func(f *fake) { f.cutNext() },
		"not the leader":        func(f *fake) { f.fail(kerr.NotLeaderForPartition, 1) },
		"sequence is lost":      func(f *fake) { f.fail(kerr.OutOfOrderSequenceNumber, 1) },
		"producer is unknown":   func(f *fake) { f.fail(kerr.UnknownProducerID, 1) },
	} {
		t.Run(name, func(t *testing.T) {
			f := startFake(t, 3)
			s := f.open()
			events := drawEvents(t, 300)
			mustSend(t, s, events[:100])
			lose(f)
			mustSend(t, s, events[100:200])
			mustSend(t, s, events[200:])
			checkOnce(t, f.records(), events)
		})
	}
}

// cutNext cuts the connection of the next Produce request instead of an answer. The batches are not stored.
func (f *fake) cutNext() {
	f.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		return nil, errors.New("cut"), true
	})
}

// If a batch is rejected, no later batch of its partition that belongs to the same Send is stored.
func TestSend_KeepsTheOrderOfAKey(t *testing.T) {
	for _, code := range []*kerr.Error{kerr.TopicAuthorizationFailed, kerr.NotEnoughReplicas, kerr.PolicyViolation} {
		t.Run(code.Message, func(t *testing.T) {
			f := startFake(t, 1)
			s := f.open()
			events := drawEvents(t, 40)
			for i := range events {
				events[i].Data = make([]byte, 300<<10) // three in a batch
			}
			mustSend(t, s, events[:1])
			n := 1
			if code == kerr.NotEnoughReplicas { // it is tried again
				n = 2
			}
			f.fail(code, n)
			got := s.Send(t.Context(), recordsOf(events[1:]))
			if got.Err == nil && slices.Contains(got.Results, nil) {
				t.Fatalf("records are stored behind one that is not: %v", got.Results)
			}
			for i, end := 1, len(events); i < end; i += 13 {
				mustSend(t, s, events[i:min(i+13, end)])
			}
			checkOnce(t, f.records(), events)
		})
	}
}

// A batch that is tried again is stored before the batches behind it.
func TestSend_KeepsTheOrderThroughARetry(t *testing.T) {
	for _, code := range []*kerr.Error{kerr.NotLeaderForPartition, kerr.RequestTimedOut, kerr.OutOfOrderSequenceNumber} {
		t.Run(code.Message, func(t *testing.T) {
			f := startFake(t, 1)
			s := f.open()
			events := drawEvents(t, 13)
			for i := range events {
				events[i].Data = make([]byte, 300<<10) // three in a batch
			}
			mustSend(t, s, events[:1])
			f.fail(code, 1)
			mustSend(t, s, events[1:])
			checkOnce(t, f.records(), events)
		})
	}
}

func TestSend_ClassifiesErrors(t *testing.T) {
	for _, test := range []struct {
		code  *kerr.Error
		class shipper.Class
		text  string
	}{
		{kerr.TopicAuthorizationFailed, shipper.Operator, "allow this user Write"},
		{kerr.ClusterAuthorizationFailed, shipper.Operator, "IdempotentWrite"},
		{kerr.InvalidTopicException, shipper.Operator, "no topic of that name"},
		{kerr.UnsupportedForMessageFormat, shipper.Operator, "old message format"},
		{kerr.NotEnoughReplicas, shipper.Transient, "fewer in-sync replicas"},
		{kerr.NotLeaderForPartition, shipper.Transient, ""},
		{kerr.KafkaStorageError, shipper.Transient, ""},
		{kerr.ThrottlingQuotaExceeded, shipper.Throttled, ""},
		{kerr.UnknownServerError, shipper.Transient, ""},
	} {
		t.Run(test.code.Message, func(t *testing.T) {
			f := startFake(t, 2)
			s := f.open()
			f.fail(test.code, -1)
			got := s.Send(t.Context(), recordsOf(drawEvents(t, 20)))
			if got.Err == nil || got.Err.Class != test.class || got.Err.Code != test.code.Message || !strings.Contains(got.Err.Text, test.text) {
				t.Errorf("got %+v", got.Err)
			}
		})
	}
}

func TestSend_NamesAMissingTopic(t *testing.T) {
	f := startFake(t, 1)
	s := f.open(func(o *kafka.Options) { o.Topic = "nowhere" })
	got := s.Send(t.Context(), recordsOf(drawEvents(t, 1)))
	if got.Err == nil || got.Err.Class != shipper.Operator || got.Err.Code != "UNKNOWN_TOPIC_OR_PARTITION" || !strings.Contains(got.Err.Text, "nowhere") {
		t.Errorf("got %+v", got.Err)
	}
}

func TestSend_FindsNoBroker(t *testing.T) {
	f := startFake(t, 1)
	s := f.open()
	f.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	got := s.Send(ctx, recordsOf(drawEvents(t, 1)))
	if got.Err == nil || got.Err.Class != shipper.Transient {
		t.Errorf("got %+v", got.Err)
	}
}

// The topic's max.message.bytes is the limit of a record and of a batch.
func TestSend_LearnsTheTopicsLimit(t *testing.T) {
	f := startFake(t, 1)
	f.setTopic("max.message.bytes", "20000")
	s := f.open()
	events := drawEvents(t, 300)
	mustSend(t, s, events)
	if got := s.Shape().MaxRecord; got >= 20000 || got < 19000 {
		t.Errorf("got MaxRecord %d", got)
	}
	events[0].Data = make([]byte, 30000)
	got := s.Send(t.Context(), recordsOf(events[:1]))
	if got.Err != nil || len(got.Results) != 1 || got.Results[0].Class != shipper.Poison || got.Results[0].Code != "MESSAGE_TOO_LARGE" {
		t.Errorf("got %+v", got)
	}
}

// Where the limit cannot be read, batches become smaller until the broker takes them.
func TestSend_FindsTheTopicsLimit(t *testing.T) {
	f := startFake(t, 1)
	f.setTopic("max.message.bytes", "2000")
	f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.DescribeConfigs}, Err: kerr.TopicAuthorizationFailed, Count: -1})
	s := f.open()
	events := drawEvents(t, 300)
	left := recordsOf(events)
	for range 20 {
		got := s.Send(t.Context(), left)
		if got.Err != nil {
			continue
		}
		failed := left[:0:0]
		for i, err := range got.Results {
			if err != nil && err.Class != shipper.Transient {
				t.Fatal(err)
			}
			if err != nil {
				failed = append(failed, left[i])
			}
		}
		if left = failed; len(left) == 0 {
			break
		}
	}
	checkOnce(t, f.records(), events)
}

func (f *fake) setTopic(name, value string) {
	f.t.Helper()
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	r := kmsg.NewIncrementalAlterConfigsRequestResource()
	r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeTopic, topicName
	c := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
	c.Name, c.Value = name, &value
	r.Configs = append(r.Configs, c)
	req.Resources = append(req.Resources, r)
	client := f.client()
	resp, err := req.RequestWith(f.t.Context(), client)
	if err != nil || resp.Resources[0].ErrorCode != 0 {
		f.t.Fatalf("set %s: %v, %+v", name, err, resp)
	}
}

// A record that the broker rejects is named, and the others of its batch are not at fault.
func TestSend_NamesARejectedRecord(t *testing.T) {
	f := startFake(t, 1)
	s := f.open()
	f.ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
		resp := r.ResponseKind().(*kmsg.ProduceResponse)
		topic := kmsg.NewProduceResponseTopic()
		topic.Topic = topicName
		p := kmsg.NewProduceResponseTopicPartition()
		p.ErrorCode = kerr.InvalidTimestamp.Code
		bad := kmsg.NewProduceResponseTopicPartitionErrorRecord()
		why := "too old"
		bad.RelativeOffset, bad.ErrorMessage = 3, &why
		p.ErrorRecords = append(p.ErrorRecords, bad)
		topic.Partitions = append(topic.Partitions, p)
		resp.Topics = append(resp.Topics, topic)
		return resp, nil, true
	})
	got := s.Send(t.Context(), recordsOf(drawEvents(t, 10)))
	if got.Err != nil {
		t.Fatal(got.Err)
	}
	for i, err := range got.Results {
		switch {
		case i == 3 && (err == nil || err.Class != shipper.Poison || err.Text != "too old"):
			t.Errorf("record 3: got %+v", err)
		case i != 3 && (err == nil || err.Class != shipper.Transient):
			t.Errorf("record %d: got %+v", i, err)
		}
	}
}

// Sends that give up leave nothing behind that a later Send of the same keys would overtake.
func TestSend_KeepsTheOrderAfterItGaveUp(t *testing.T) {
	f := startFake(t, 2)
	s := f.open()
	events := drawEvents(t, 200)
	mustSend(t, s, events[:50])
	release := make(chan struct{})
	f.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		f.SleepControl(func() { <-release })
		return nil, nil, false
	})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if got := s.Send(ctx, recordsOf(events[50:100])); got.Err == nil {
		t.Fatal("Send did not give up")
	}
	close(release)
	mustSend(t, s, events[50:])
	checkOrder(t, f.records(), events)
}

// A batch that fails but may be stored keeps its sequence numbers: a broker takes the next batch for another one.
func TestSend_LosesNothingBehindABatchThatMayBeStored(t *testing.T) {
	for name, codes := range map[string][]*kerr.Error{
		"forbidden later":    {kerr.RequestTimedOut, kerr.PolicyViolation},
		"too large later":    {kerr.RequestTimedOut, kerr.MessageTooLarge},
		"a bad record later": {kerr.RequestTimedOut, kerr.InvalidRecord},
		"server has a fault": {kerr.UnknownServerError},
	} {
		t.Run(name, func(t *testing.T) {
			f := startFake(t, 1)
			s := f.open()
			events := drawEvents(t, 30)
			for i := range events {
				events[i].Data, events[i].Attributes = []byte{byte(i)}, nil // few enough bytes for one batch
			}
			mustSend(t, s, events[:10])
			f.storeAndAnswer(codes...)
			if got := s.Send(t.Context(), recordsOf(events[10:20])); got.Err == nil && slices.Contains(got.Results, nil) {
				t.Fatalf("got %+v", got)
			}
			mustSend(t, s, events[20:]) // as many
			mustSend(t, s, events[10:20])
			for _, e := range events {
				if !slices.ContainsFunc(f.records(), func(r *kgo.Record) bool { return idOffset(t, r) == e.Offset }) {
					t.Errorf("event %d is lost", e.Offset)
				}
			}
		})
	}
}

// storeAndAnswer stores the next batch but answers with the first error, and answers with the others when it comes again.
func (f *fake) storeAndAnswer(codes ...*kerr.Error) {
	f.storeAndAnswerEach(len(codes), func(request int, _ int32) *kerr.Error { return codes[request] })
}

// storeAndAnswerEach does the same with n errors for each partition.
func (f *fake) storeAndAnswerEach(n int, code func(request int, partition int32) *kerr.Error) {
	const sentOn = 4321 // the timeout of the request that stores the batch
	client, requests := f.client(kgo.MaxVersions(kversion.V3_0_0())), 0
	f.ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (resp kmsg.Response, err error, handled bool) {
		f.KeepControl()
		answer := r.ResponseKind().(*kmsg.ProduceResponse)
		if r.(*kmsg.ProduceRequest).TimeoutMillis == sentOn || requests == n {
			return nil, nil, false
		}
		if requests++; requests == 1 {
			node, same := f.CurrentNode(), *r.(*kmsg.ProduceRequest)
			same.TimeoutMillis = sentOn
			f.SleepControl(func() {
				stored, err := client.Broker(int(node)).Request(f.t.Context(), &same)
				if err != nil || stored.(*kmsg.ProduceResponse).Topics[0].Partitions[0].ErrorCode != 0 {
					f.t.Errorf("store a batch: %v, %+v", err, stored)
				}
			})
		}
		for _, in := range r.(*kmsg.ProduceRequest).Topics {
			topic := kmsg.NewProduceResponseTopic()
			topic.Topic = in.Topic
			for _, p := range in.Partitions {
				out := kmsg.NewProduceResponseTopicPartition()
				out.Partition, out.ErrorCode = p.Partition, code(requests-1, p.Partition).Code
				topic.Partitions = append(topic.Partitions, out)
			}
			answer.Topics = append(answer.Topics, topic)
		}
		return answer, nil, true
	})
}

// A Send that gives up while its batch is answered reads nothing that the answer changes.
func TestSend_GivesUpDuringAnAnswer(t *testing.T) {
	f := startFake(t, 1)
	s := f.open()
	events := drawEvents(t, 10)
	mustSend(t, s, events)
	for i := range 300 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*3*time.Microsecond)
		s.Send(ctx, recordsOf(events))
		cancel()
	}
	mustSend(t, s, events)
}

// A partition whose epochs are used up makes the producer take a new ID. A batch of another partition that may be stored
// keeps the ID it was sent under.
func TestSend_StoresOnceWhileAnEpochEnds(t *testing.T) {
	f := startFake(t, 2, kfake.NumBrokers(1))
	f.ControlKey(int16(kmsg.InitProducerID), func(r kmsg.Request) (kmsg.Response, error, bool) {
		resp := r.ResponseKind().(*kmsg.InitProducerIDResponse)
		resp.ProducerID, resp.ProducerEpoch = 4321, 1<<15-1
		return resp, nil, true
	})
	s := f.open()
	events := drawEvents(t, 300)
	mustSend(t, s, events[:100])
	f.storeAndAnswerEach(1, func(_ int, partition int32) *kerr.Error {
		return []*kerr.Error{kerr.OutOfOrderSequenceNumber, kerr.RequestTimedOut}[partition]
	})
	mustSend(t, s, events[100:200])
	mustSend(t, s, events[200:])
	if repeated := checkOrder(t, f.records(), events); repeated == 0 {
		t.Error("partition 0 did not go on under another ID")
	}
	seen := make(map[uint64]bool)
	for _, r := range f.records() {
		offset := idOffset(t, r)
		if r.Partition == 1 && seen[offset] {
			t.Errorf("event %d is stored again", offset)
		}
		seen[offset] = true
	}
}

// A record of the largest event that a listener accepts, whatever its key and attributes are, fits the topic's
// max.message.bytes, and the limit is not far below that. Batches fit it too.
func TestSend_FitsTheTopicsLimitWithItsHeaders(t *testing.T) {
	const limit = 6000
	f := startFake(t, 2)
	f.setTopic("max.message.bytes", strconv.Itoa(limit))
	for name, envelope := range map[string]*shipper.Envelope{"plain": nil, "envelope": {Log: "LOG", Stream: "clicks", Format: "bytes"}} {
		t.Run(name, func(t *testing.T) {
			s := f.open(func(o *kafka.Options) { o.Envelope = envelope })
			mustSend(t, s, drawEvents(t, 1))
			shape := s.Shape()
			var most atomic.Int64
			f.ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
				f.KeepControl()
				for _, p := range r.(*kmsg.ProduceRequest).Topics[0].Partitions {
					most.Store(max(most.Load(), int64(len(p.Records))))
				}
				return nil, nil, false
			})
			r := rand.New(rand.NewPCG(6000, 3))
			var batch []event
			for i := range 300 {
				e := drawHeaders(r, uint64(2+i))
				room := sort.Search(limit, func(n int) bool {
					e.Data = make([]byte, n)
					return n > shape.Room(&e)
				}) - 1
				if room < 0 {
					t.Fatalf("no room beside %d attributes", len(e.Attributes))
				}
				e.Data = make([]byte, room)
				record := recordsOf([]event{e})
				if envelope != nil {
					record[0].Data = envelope.Append(nil, &e)
				}
				most.Store(0)
				if got := s.Send(t.Context(), record); got.Err != nil || got.Results[0] != nil {
					t.Fatalf("the largest event beside %d attributes is not stored: %v, %v", len(e.Attributes), got.Err, got.Results)
				}
				if got := most.Load(); got > limit || envelope == nil && got < limit-100-10*int64(len(e.Attributes)) {
					t.Fatalf("the largest event beside %d attributes takes %d bytes of %d", len(e.Attributes), got, limit)
				}
				e.Offset += 1000
				e.Data = e.Data[:r.IntN(room+1)]
				batch = append(batch, e)
			}
			mustSend(t, s, batch)
		})
	}
}

// drawHeaders draws an event with no data and up to 2,100 bytes of key and attributes: many, long or empty ones.
func drawHeaders(r *rand.Rand, offset uint64) event {
	e := event{Offset: offset, Key: strings.Repeat("k", 1+r.IntN(256)), Time: r.Int64N(1 << 60), Attributes: make(map[string]string)}
	left := r.IntN(1800)
	long := 1 + r.IntN(2000)
	for len(e.Attributes) < 100 && left > 0 {
		name, value := strings.Repeat("n", r.IntN(min(long, 200))), strings.Repeat("v", r.IntN(long))
		name += strconv.Itoa(len(e.Attributes))
		if r.IntN(10) == 0 {
			name, value = "", ""
		}
		if left -= len(name) + len(value) + 10; left > 0 {
			e.Attributes[name] = value
		}
		if name == "" && len(e.Attributes) == 0 {
			break
		}
	}
	return e
}
