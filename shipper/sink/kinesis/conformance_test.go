package kinesis_test

import (
	"testing"

	"github.com/standpipe/standpipe/shipper/sink"
	"github.com/standpipe/standpipe/shipper/sink/kinesis"
	"github.com/standpipe/standpipe/shipper/sink/sinktest"
	"github.com/standpipe/standpipe/test/fakeaws"
)

func TestConformance(t *testing.T) {
	for _, order := range []sink.Order{sink.OrderKey, sink.OrderNone, sink.OrderStrict} {
		t.Run(string(order), func(t *testing.T) {
			sinktest.Run(t, func(t *testing.T) sinktest.Target {
				srv := fakeaws.Start(t)
				if order == sink.OrderNone {
					srv.AnyOrder()
				}
				target := srv.Target(openWith(t, srv, kinesis.Options{Order: order}))
				if order == sink.OrderStrict { // its response has one result and no count of failures
					target.FailRecords, target.LoseResponse = nil, target.LoseResponse[:4]
				}
				return target
			})
		})
	}
}
