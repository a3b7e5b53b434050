package sink_test

import (
	"testing"

	"github.com/standpipe/standpipe/shipper/sink"
	"github.com/standpipe/standpipe/test/fakeaws"
)

func TestFirehoseShapes(t *testing.T) {
	srv := fakeaws.Start(t)
	for _, c := range []struct {
		o           sink.FirehoseOptions
		any, oneKey bool
	}{
		{sink.FirehoseOptions{}, false, false},
		{sink.FirehoseOptions{Order: sink.OrderKey}, false, false},
		{sink.FirehoseOptions{Order: sink.OrderNone}, true, false},
		{sink.FirehoseOptions{OneKey: true}, false, true},
	} {
		c.o.DeliveryStream, c.o.AWS = "s", srv.Options()
		f, err := sink.NewFirehose(t.Context(), c.o)
		if err != nil {
			t.Fatal(err)
		}
		if got := f.Shape(); got.AnyOrder != c.any || got.OneKey != c.oneKey || got.RecordEvents != 500 || got.KeyCounts {
			t.Errorf("%+v: got %+v", c.o, got)
		}
		f.Close()
	}
	for _, o := range []sink.FirehoseOptions{{}, {DeliveryStream: "s", Order: sink.OrderStrict}} {
		if _, err := sink.NewFirehose(t.Context(), o); err == nil {
			t.Errorf("%+v: got no error", o)
		}
	}
}
