package kinesis_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/sink"
	"github.com/standpipe/standpipe/shipper/sink/kinesis"
	"github.com/standpipe/standpipe/shipper/sink/sinktest"
	"github.com/standpipe/standpipe/test/fakeaws"
)

func ofKey(key, data string) []shipper.Record {
	return []shipper.Record{{Key: key, First: 1, Last: 1, Events: 1, Data: []byte(data)}}
}

func TestOrders(t *testing.T) {
	srv := fakeaws.Start(t)
	for _, c := range []struct {
		order    sink.Order
		records  int
		inFlight int
		any      bool
	}{{"", 500, 0, false}, {sink.OrderKey, 500, 0, false}, {sink.OrderStrict, 1, 64, false}, {sink.OrderNone, 500, 0, true}} {
		got := openWith(t, srv, kinesis.Options{Order: c.order}).Shape()
		if got.BatchRecords != c.records || got.InFlight != c.inFlight || got.AnyOrder != c.any {
			t.Errorf("%q: got %+v", c.order, got)
		}
	}
	if _, err := kinesis.New(t.Context(), kinesis.Options{Stream: "s", Order: "some"}); err == nil {
		t.Error("unknown order: got no error")
	}
}

// The stand-in fails the test for a record that does not name the last acknowledged record of its key.
func TestStrictOrder_NamesTheRecordBefore(t *testing.T) {
	srv := fakeaws.Start(t)
	k := openWith(t, srv, kinesis.Options{Order: sink.OrderStrict})
	for i := range 20 {
		switch i {
		case 5:
			srv.FailNext(fakeaws.CutWithin()) // stored, with an unknown sequence number
			k.Send(t.Context(), ofKey("k1", "5"))
		case 9:
			srv.FailNext(fakeaws.Throttle())
			k.Send(t.Context(), ofKey("k1", "9"))
		}
		key := fmt.Sprint("k", i%2)
		if got := k.Send(t.Context(), ofKey(key, fmt.Sprint(i))); got.Err != nil || got.Results[0] != nil {
			t.Fatalf("got %+v", got)
		}
	}
	if got := srv.Stored(); got != 21 {
		t.Errorf("got %d records, want 20 and one twice", got)
	}
}

func TestStrictOrder_GivesAShardsTroubleToItsRecordAlone(t *testing.T) {
	srv := fakeaws.Start(t)
	k := openWith(t, srv, kinesis.Options{Order: sink.OrderStrict})
	srv.FailNext(fakeaws.Refuse(503, "ServiceUnavailable", "Slow down."))
	if got := k.Send(t.Context(), sinktest.Records(1)); got.Err == nil || got.Err.Class != shipper.Throttled {
		t.Errorf("got %+v, want the request throttled", got)
	}
	srv.FailNext(fakeaws.Throttle(), fakeaws.Refuse(500, "InternalFailure", "sorry"), fakeaws.Refuse(400, "ResourceNotFoundException", "no"))
	for _, want := range []shipper.Class{shipper.Throttled, shipper.Transient} {
		if got := k.Send(t.Context(), sinktest.Records(1)); got.Err != nil || got.Results[0].Class != want || got.Code == "" {
			t.Errorf("got %+v, want a %v record", got, want)
		}
	}
	if got := k.Send(t.Context(), sinktest.Records(1)); got.Err == nil || got.Err.Class != shipper.Operator {
		t.Errorf("got %+v, want the request refused", got)
	}
}

func TestStrictOrder_RecreatedStreamRejectsNoRecord(t *testing.T) {
	srv := fakeaws.Start(t)
	k := openWith(t, srv, kinesis.Options{Order: sink.OrderStrict})
	k.Send(t.Context(), ofKey("k1", "1"))
	srv.Recreate()
	if got := k.Send(t.Context(), ofKey("k1", "2")); got.Err != nil || got.Results[0].Class != shipper.Transient {
		t.Fatalf("got %+v, want a transient record", got)
	}
	if got := k.Send(t.Context(), ofKey("k1", "2")); got.Err != nil || got.Results[0] != nil {
		t.Errorf("got %+v", got)
	}
	srv.FailNext(fakeaws.Refuse(400, "InvalidArgumentException", "no"))
	if got := k.Send(t.Context(), ofKey("k2", "1")); got.Err == nil || got.Err.Class != shipper.Poison {
		t.Errorf("a first record that is refused: got %+v, want poison", got)
	}
}

func TestStream_IgnoringKeysIsRejectedWithTheSetting(t *testing.T) {
	srv := fakeaws.Start(t)
	srv.IgnoreKeys(true)
	for _, order := range []sink.Order{sink.OrderKey, sink.OrderStrict} {
		got := openWith(t, srv, kinesis.Options{Order: order, CheckKeys: time.Hour}).Send(t.Context(), sinktest.Records(1))
		if got.Err == nil || got.Err.Class != shipper.Operator || srv.Stored() != 0 {
			t.Fatalf("%s: got %+v", order, got.Err)
		}
		for _, want := range []string{"AUTO", "ignores partition keys", "USER_PARTITION_KEY", `order = "none"`} {
			if !strings.Contains(got.Err.Text, want) {
				t.Errorf("%s: got %q, want %q in it", order, got.Err.Text, want)
			}
		}
	}
}

// Consumers accept aggregated records by their keys, so on a stream that ignores keys each event is a record of its
// own.
func TestStream_IgnoringKeysGetsOneEventARecord(t *testing.T) {
	srv := fakeaws.Start(t)
	srv.IgnoreKeys(true)
	srv.AnyOrder()
	k := openWith(t, srv, kinesis.Options{Order: sink.OrderNone, CheckKeys: time.Hour})
	batch := sinktest.Records(2)
	batch[1].Events = 2
	if got := k.Send(t.Context(), batch); got.Err == nil || got.Err.Class != shipper.Transient || srv.Stored() != 0 {
		t.Fatalf("an aggregated record: got %+v, %d stored", got, srv.Stored())
	}
	if got := k.Shape(); got.Framing != shipper.FramingNone || got.RecordEvents != 1 || !got.AnyOrder {
		t.Errorf("got %+v", got)
	}
	if got := k.Send(t.Context(), sinktest.Records(2)); got.Err != nil || srv.Stored() != 2 {
		t.Errorf("got %+v, %d stored", got, srv.Stored())
	}
}

func TestRecords_GrowWithTheStreamsLimit(t *testing.T) {
	srv := fakeaws.Start(t)
	srv.SetMaxRecord(4 << 20)
	k := openWith(t, srv, kinesis.Options{CheckKeys: time.Hour})
	k.Learn(t.Context())
	if got := k.Shape(); got.MaxRecord != 4<<20 || got.MaxBatch != 5<<20 || got.AimRecord != 500<<10 {
		t.Errorf("got %+v", got)
	}
	large := sinktest.Records(1)
	large[0].Data = bytes.Repeat([]byte("x"), 4<<20-len(large[0].Key))
	if got := k.Send(t.Context(), large); got.Err != nil || srv.Stored() != 1 || srv.Described() != 1 {
		t.Errorf("got %+v, %d stored, asked %d times", got.Err, srv.Stored(), srv.Described())
	}
	srv.SetMaxRecord(10 << 20)
	k = openWith(t, srv, kinesis.Options{CheckKeys: time.Hour})
	k.Learn(t.Context())
	if got := k.Shape(); got.MaxRecord != 10<<20 || got.MaxBatch != 10<<20 {
		t.Errorf("got %+v", got)
	}
}

func TestRecords_LoweredLimitIsNoticedByItsRejection(t *testing.T) {
	for _, order := range []sink.Order{sink.OrderKey, sink.OrderStrict} {
		srv := fakeaws.Start(t)
		srv.SetMaxRecord(4 << 20)
		k := openWith(t, srv, kinesis.Options{Order: order, CheckKeys: time.Hour})
		k.Send(t.Context(), sinktest.Records(1))
		srv.SetMaxRecord(1 << 20)
		large := sinktest.Records(1)
		large[0].Data = make([]byte, 2<<20)
		for range 3 {
			if got := k.Send(t.Context(), large); got.Err == nil || got.Err.Class != shipper.Poison {
				t.Fatalf("%s: got %+v", order, got.Err)
			}
		}
		if got := k.Shape(); got.MaxRecord != 1<<20 || srv.Described() != 2 {
			t.Errorf("%s: got %d bytes, asked %d times, want 1 MiB after 2", order, got.MaxRecord, srv.Described())
		}
	}
}
