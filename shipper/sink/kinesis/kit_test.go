package kinesis_test

import (
	"testing"

	"github.com/standpipe/standpipe/shipper/sink/kinesis"
	"github.com/standpipe/standpipe/test/fakeaws"
)

func open(t *testing.T, srv *fakeaws.Server) *kinesis.Sink {
	t.Helper()
	k, err := kinesis.New(t.Context(), kinesis.Options{Stream: "clicks", AWS: srv.Options()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.Close() })
	return k
}

// openWith opens a Kinesis destination with options o.
func openWith(t *testing.T, srv *fakeaws.Server, o kinesis.Options) *kinesis.Sink {
	t.Helper()
	o.Stream, o.AWS = "clicks", srv.Options()
	k, err := kinesis.New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.Close() })
	return k
}
