package sink_test

import (
	"fmt"
	"testing"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/sink"
	"github.com/standpipe/standpipe/test/fakeaws"
)

func openKinesis(t *testing.T, srv *fakeaws.Server) *sink.Kinesis {
	t.Helper()
	k, err := sink.NewKinesis(t.Context(), sink.KinesisOptions{Stream: "clicks", AWS: srv.Options()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.Close() })
	return k
}

// openWith opens a Kinesis destination with options of its own.
func openWith(t *testing.T, srv *fakeaws.Server, o sink.KinesisOptions) *sink.Kinesis {
	t.Helper()
	o.Stream, o.AWS = "clicks", srv.Options()
	k, err := sink.NewKinesis(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.Close() })
	return k
}

func openFirehose(t *testing.T, srv *fakeaws.Server) *sink.Firehose {
	t.Helper()
	f, err := sink.NewFirehose(t.Context(), sink.FirehoseOptions{DeliveryStream: "clicks", AWS: srv.Options()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// records returns n records of one line each, under n keys, with offsets from 1.
func records(n int) []shipper.Record { return recordsFrom(1, n) }

func recordsFrom(first uint64, n int) []shipper.Record {
	batch := make([]shipper.Record, n)
	for i := range batch {
		offset := first + uint64(i)
		batch[i] = shipper.Record{
			Key:    fmt.Sprintf("key-%d", offset),
			First:  offset,
			Last:   offset,
			Events: 1,
			Data:   fmt.Appendf(nil, "{\"n\":%d}\n", offset),
		}
	}
	return batch
}
