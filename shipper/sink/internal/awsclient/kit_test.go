package awsclient_test

import (
	"testing"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/sink/firehose"
	"github.com/standpipe/standpipe/shipper/sink/kinesis"
	"github.com/standpipe/standpipe/test/fakeaws"
)

func openKinesis(t *testing.T, srv *fakeaws.Server) *kinesis.Sink {
	t.Helper()
	k, err := kinesis.New(t.Context(), kinesis.Options{Stream: "clicks", AWS: srv.Options()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.Close() })
	return k
}

func openFirehose(t *testing.T, srv *fakeaws.Server) *firehose.Sink {
	t.Helper()
	f, err := firehose.New(t.Context(), firehose.Options{DeliveryStream: "clicks", AWS: srv.Options()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func ofKey(key, data string) []shipper.Record {
	return []shipper.Record{{Key: key, First: 1, Last: 1, Events: 1, Data: []byte(data)}}
}
