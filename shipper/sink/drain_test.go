//go:build linux

package sink_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/smithy-go/encoding/cbor"
	"golang.org/x/sys/unix"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/sink"
	"github.com/standpipe/standpipe/shipper/sink/firehose"
	"github.com/standpipe/standpipe/shipper/sink/kinesis"
	"github.com/standpipe/standpipe/test/fakeaws"
	"github.com/standpipe/standpipe/wal"
	"github.com/standpipe/standpipe/wal/deadletter"
)

// drainBytes is the size of the backlog that BenchmarkDrain ships. It is large enough that the start and the end of a
// drain don't matter. The published figures were measured with 1 GiB.
var drainBytes = flag.Int64("drain.bytes", 128<<20, "payload bytes of the backlog that BenchmarkDrain ships")

// drainEvent is the length of an event's payload.
const drainEvent = 1 << 10

// BenchmarkDrain ships a backlog from the log to a service that responds at once, or after a round trip. With end=sdk
// it uses the real SDK and a server in the same process. With end=frame it uses a sink of the same shape that accepts
// everything and does nothing, which leaves reading, batching, framing and settling. MB/s-core is the payload divided
// by the processor time of the whole process, the server's included.
func BenchmarkDrain(b *testing.B) {
	for _, keys := range []int{24, 10_000} {
		log := backlog(b, keys)
		for _, to := range []string{"firehose", "kinesis"} {
			b.Run(fmt.Sprintf("to=%s/size=1KiB/keys=%d/end=frame", to, keys), func(b *testing.B) {
				drain(b, log, shapeOnly{open(b, to, "http://127.0.0.1:1").Shape()})
			})
			for _, rtt := range []time.Duration{0, 50 * time.Millisecond} {
				b.Run(fmt.Sprintf("to=%s/size=1KiB/keys=%d/end=sdk/rtt=%s", to, keys, rtt), func(b *testing.B) {
					drain(b, log, open(b, to, atOnce(b, rtt)))
				})
			}
		}
	}
}

// backlog returns a log that holds drainBytes of events of one stream, and keeps them.
func backlog(b *testing.B, keys int) *wal.Log {
	log, err := wal.Open(context.Background(), wal.Options{Dir: b.TempDir(), MaxSize: 4*(*drainBytes) + 1<<30})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { log.Close() })
	const together = 1000
	batch := &wal.Batch{Stream: "s", Events: make([]wal.Event, together)}
	data := []byte(strings.Repeat("an event of some length; ", 41)[:drainEvent])
	for n := range int(*drainBytes / drainEvent / together) {
		for i := range batch.Events {
			batch.Events[i] = wal.Event{Key: fmt.Sprintf("key-%d", (n*together+i)*7919%keys), Data: data, Time: 1}
		}
		if _, err := log.Append(context.Background(), batch); err != nil {
			b.Fatal(err)
		}
	}
	if _, err := log.OpenCursor("s", "keeps"); err != nil {
		b.Fatal(err)
	}
	return log
}

func open(b *testing.B, to, endpoint string) shipper.Sink {
	aws := sink.AWS{Region: "us-east-1", Endpoint: endpoint, Credentials: credentials.NewStaticCredentialsProvider("id", "secret", "")}
	var s shipper.Sink
	var err error
	if to == "firehose" {
		s, err = firehose.New(b.Context(), firehose.Options{DeliveryStream: "s", AWS: aws})
	} else {
		s, err = kinesis.New(b.Context(), kinesis.Options{Stream: "s", AWS: aws})
	}
	if err != nil {
		b.Fatal(err)
	}
	return s
}

// drains counts the cursors of BenchmarkDrain: each drain has a new one.
var drains int

// drain ships the whole log once an iteration, each time with a new cursor.
func drain(b *testing.B, log *wal.Log, to shipper.Sink) {
	var requests, records, pending uint64
	b.ReportAllocs()
	peak, mapped := resident("RssAnon:"), resident("RssFile:")
	before := processorTime()
	n := 0
	for b.Loop() {
		place, err := log.OpenCursor("s", fmt.Sprint("drain-", drains))
		if err != nil {
			b.Fatal(err)
		}
		n++
		drains++
		s := shipper.New(shipper.Options{Source: log, Cursor: place, Sink: to, Dead: nobody{b}})
		pending = place.Stat().Pending.Bytes
		done := make(chan error)
		go func() { done <- s.Run(b.Context()) }()
		for ended := false; !ended; {
			select {
			case err := <-done:
				if ended = true; err != nil {
					b.Fatal(err)
				}
			case <-time.After(5 * time.Millisecond):
				peak, mapped = max(peak, resident("RssAnon:")), max(mapped, resident("RssFile:"))
				if place.Stat().Pending.Bytes < pending/16 {
					s.Finish() // the last events need not wait for a full batch
				}
			}
		}
		st := place.Stat()
		if st.Pending.Events > 0 {
			b.Fatalf("%d events are pending after the drain", st.Pending.Events)
		}
		requests, records = st.Requests, st.Records
	}
	cpu := processorTime() - before
	total := float64(pending) * float64(n)
	b.SetBytes(int64(pending))
	b.ReportMetric(total/1e6/cpu.Seconds(), "MB/s-core")
	b.ReportMetric(float64(pending)/float64(1<<20)/float64(requests), "MiB/request")
	b.ReportMetric(float64(records), "records")
	b.ReportMetric(float64(peak)/(1<<20), "RssAnon-MiB")
	b.ReportMetric(float64(mapped)/(1<<20), "RssFile-MiB")
}

// nobody is a dead-letter queue that rejects all letters.
type nobody struct{ b *testing.B }

func (n nobody) Put(d deadletter.Letter) error {
	n.b.Errorf("an event was refused: %s", d.Reason)
	return nil
}

// shapeOnly accepts every record and does nothing with it.
type shapeOnly struct{ shape shipper.Shape }

func (s shapeOnly) Shape() shipper.Shape { return s.shape }
func (shapeOnly) Close() error           { return nil }
func (shapeOnly) Send(_ context.Context, batch []shipper.Record) shipper.Response {
	return shipper.Response{Results: make([]*shipper.Error, len(batch)), Code: "200"}
}

// atOnce starts a service that stores nothing and acknowledges every record, after rtt. Like Kinesis it responds in CBOR to
// a request in CBOR.
func atOnce(b *testing.B, rtt time.Duration) (endpoint string) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if fakeaws.InCBOR(r) {
			records := countRecords(r.Body, "dData")
			time.Sleep(rtt)
			w.Header().Set("Content-Type", r.Header.Get("Content-Type"))
			stored := cbor.Map{"SequenceNumber": cbor.String("1"), "ShardId": cbor.String("shardId-000000000000")}
			w.Write(cbor.Encode(cbor.Map{"FailedRecordCount": cbor.Uint(0), "Records": cbor.List(slices.Repeat([]cbor.Value{stored}, records))}))
			return
		}
		records := countRecords(r.Body, `"Data"`)
		time.Sleep(rtt)
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		if strings.HasPrefix(r.Header.Get("X-Amz-Target"), "Firehose") {
			fmt.Fprintf(w, `{"FailedPutCount":0,"RequestResponses":[%s]}`, repeated(`{"RecordId":"1"}`, records))
			return
		}
		fmt.Fprintf(w, `{"FailedRecordCount":0,"Records":[%s]}`, repeated(`{"SequenceNumber":"1","ShardId":"shardId-000000000000"}`, records))
	}))
	b.Cleanup(srv.Close)
	return srv.URL
}

func repeated(s string, n int) string { return strings.TrimSuffix(strings.Repeat(s+",", n), ",") }

// countRecords reads a request and counts its records by the name of their payload members, which no payload contains.
func countRecords(body io.Reader, name string) (n int) {
	buf := make([]byte, 64<<10)
	kept := 0
	for {
		m, err := body.Read(buf[kept:])
		n += bytes.Count(buf[:kept+m], []byte(name))
		if err != nil {
			return n
		}
		tail := min(len(name)-1, kept+m)
		kept = copy(buf, buf[kept+m-tail:kept+m])
	}
}

// processorTime returns the processor time of the process.
func processorTime() time.Duration {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// resident returns a part of the process's resident memory in bytes: anonymous, or of files that are mapped.
func resident(part string) (n int64) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	if _, rest, ok := bytes.Cut(status, []byte(part)); ok {
		fmt.Sscan(string(rest), &n)
	}
	return n << 10
}
