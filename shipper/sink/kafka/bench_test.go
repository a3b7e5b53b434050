//go:build unix

package kafka_test

import (
	"context"
	"fmt"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/ranged"
	"github.com/standpipe/standpipe/shipper/sink/kafka"
	"github.com/standpipe/standpipe/test/kafkakit"
	"github.com/standpipe/standpipe/test/testkit"
	"github.com/standpipe/standpipe/wal"
)

// The benchmarks deliver the same events to one broker, which uses the processors too: from memory with the producer of
// franz-go, and from a log with each sink and its shipper. An operation is all of the events.
const (
	benchEvents = 300_000
	benchSize   = 512 // bytes of data
	benchKeys   = 1000
)

func BenchmarkDelivery(b *testing.B) {
	if os.Getenv("STANDPIPE_KAFKA_BENCH") == "" {
		b.Skip("STANDPIPE_KAFKA_BENCH is not set: it starts a broker of Kafka")
	}
	broker := kafkakit.Start(b, nil)
	n := 0
	options := func() kafka.Options {
		n++
		topic := fmt.Sprint("bench-", n)
		broker.CreateTopic(topic, 6)
		return kafka.Options{Brokers: []string{broker.Address()}, Topic: topic, Stream: "clicks", Branches: []wal.Branch{{First: 1, ID: "LOG"}}}
	}
	b.Run("franz-go", func(b *testing.B) {
		measure(b, func() { produceAll(b, options()) })
	})
	for _, delivery := range []string{"at_least_once", "exactly_once"} {
		b.Run(delivery, func(b *testing.B) {
			l, cursors := benchLog(b)
			dead := l.OpenDeadLetters(nil)
			defer dead.Close()
			measure(b, func() {
				cursor := cursors[0]
				cursors = cursors[1:]
				testkit.Must(b, deliverer(b, delivery, options(), l, cursor, dead).Run(b.Context()))
				if got := cursor.Stat().Delivered.Events; got != benchEvents {
					b.Fatalf("got %d events delivered, want %d", got, benchEvents)
				}
			})
		})
	}
}

// measure reports events a second, and the processor time of this process.
func measure(b *testing.B, run func()) {
	b.SetBytes(benchEvents * benchSize)
	begin, used := time.Now(), processorTime(b)
	b.ResetTimer()
	for range b.N {
		run()
	}
	b.ReportMetric(float64(b.N*benchEvents)/time.Since(begin).Seconds(), "events/s")
	b.ReportMetric(float64(b.N*benchEvents*benchSize)/1e6/(processorTime(b)-used).Seconds(), "MB/cpu-s")
}

func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	testkit.Must(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func produceAll(b *testing.B, o kafka.Options) {
	client, err := kgo.NewClient(kgo.SeedBrokers(o.Brokers...), kgo.DefaultProduceTopic(o.Topic), kgo.ProducerBatchCompression(kgo.NoCompression()))
	testkit.Must(b, err)
	defer client.Close()
	for i := range benchEvents {
		client.Produce(context.Background(), &kgo.Record{
			Key: fmt.Append(nil, "key-", i%benchKeys), Value: make([]byte, benchSize), Timestamp: time.Now(),
			Headers: []kgo.RecordHeader{{Key: "standpipe-id", Value: fmt.Append(nil, "LOG/clicks/", i)}},
		}, func(_ *kgo.Record, err error) {
			if err != nil {
				b.Error(err)
			}
		})
	}
	testkit.Must(b, client.Flush(context.Background()))
}

// benchLog returns a log with all events, and a cursor for each operation.
func benchLog(b *testing.B) (l *wal.Log, cursors []*wal.Cursor) {
	b.Helper()
	l = testkit.OpenLog(b, wal.Options{})
	for i := range b.N {
		cursor, err := l.OpenCursor("clicks", fmt.Sprint("bus-", i))
		testkit.Must(b, err)
		cursors = append(cursors, cursor)
	}
	batch := &wal.Batch{Stream: "clicks"}
	for i := range benchEvents {
		batch.Events = append(batch.Events, wal.Event{Key: fmt.Sprint("key-", i%benchKeys), Data: make([]byte, benchSize), Time: time.Now().UnixNano()})
		if len(batch.Events) == 1000 {
			_, err := l.Append(context.Background(), batch)
			testkit.Must(b, err)
			batch.Events = nil
		}
	}
	return l, cursors
}

// deliverer returns a shipper that ends when all events are delivered.
func deliverer(b *testing.B, delivery string, o kafka.Options, l *wal.Log, cursor *wal.Cursor, dead shipper.DeadLetterQueue) interface{ Run(context.Context) error } {
	if delivery == "exactly_once" {
		s, err := kafka.NewExact(b.Context(), kafka.ExactOptions{Options: o, Destination: cursor.Name()})
		testkit.Must(b, err)
		b.Cleanup(func() { s.Close() })
		r := ranged.New(ranged.Options{Source: l, Cursor: cursor, Sink: s, Dead: dead})
		r.Finish()
		return r
	}
	s, err := kafka.New(b.Context(), o)
	testkit.Must(b, err)
	b.Cleanup(func() { s.Close() })
	r := shipper.New(shipper.Options{Source: l, Cursor: cursor, Sink: s, Dead: dead})
	r.Finish()
	return r
}
