package firehose_test

import (
	"testing"

	"github.com/standpipe/standpipe/shipper/sink/firehose"
	"github.com/standpipe/standpipe/shipper/sink/sinktest"
	"github.com/standpipe/standpipe/test/fakeaws"
)

func TestConformance(t *testing.T) {
	sinktest.Run(t, func(t *testing.T) sinktest.Target {
		srv := fakeaws.Start(t)
		return srv.Target(open(t, srv))
	})
}

func open(t *testing.T, srv *fakeaws.Server) *firehose.Sink {
	t.Helper()
	f, err := firehose.New(t.Context(), firehose.Options{DeliveryStream: "clicks", AWS: srv.Options()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}
