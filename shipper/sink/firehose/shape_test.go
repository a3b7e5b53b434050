package firehose_test

import (
	"testing"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/sink"
	"github.com/standpipe/standpipe/shipper/sink/firehose"
	"github.com/standpipe/standpipe/test/fakeaws"
)

func TestFirehoseShapes(t *testing.T) {
	srv := fakeaws.Start(t)
	for _, c := range []struct {
		o           firehose.Options
		any, oneKey bool
	}{
		{firehose.Options{}, false, false},
		{firehose.Options{Order: sink.OrderKey}, false, false},
		{firehose.Options{Order: sink.OrderNone}, true, false},
		{firehose.Options{OneKey: true}, false, true},
	} {
		c.o.DeliveryStream, c.o.AWS = "s", srv.Options()
		f, err := firehose.New(t.Context(), c.o)
		if err != nil {
			t.Fatal(err)
		}
		if got := f.Shape(); got.AnyOrder != c.any || got.OneKey != c.oneKey || got.RecordEvents != 500 || got.KeyCounts {
			t.Errorf("%+v: got %+v", c.o, got)
		}
		f.Close()
	}
	for _, o := range []firehose.Options{{}, {DeliveryStream: "s", Order: sink.OrderStrict}} {
		if _, err := firehose.New(t.Context(), o); err == nil {
			t.Errorf("%+v: got no error", o)
		}
	}
}

func TestQuotas(t *testing.T) {
	elsewhere := sink.AWS{Region: "eu-west-1", Endpoint: "http://127.0.0.1:4567"}
	large := shipper.Quota{Bytes: 5 << 20, Records: 500_000, Requests: 2000}
	small := shipper.Quota{Bytes: 1 << 20, Records: 100_000, Requests: 1000}
	for _, c := range []struct {
		name string
		at   sink.AWS
		want shipper.Quota
	}{
		{"a large region", sink.AWS{Region: "eu-west-1"}, large},
		{"a small region", sink.AWS{Region: "eu-north-1"}, small},
		{"elsewhere", elsewhere, shipper.Quota{}},
	} {
		f, err := firehose.New(t.Context(), firehose.Options{DeliveryStream: "s", AWS: c.at})
		if err != nil {
			t.Fatal(err)
		}
		if got := f.Shape().Quota; got != c.want {
			t.Errorf("%s: got %+v, want %+v", c.name, got, c.want)
		}
		f.Close()
	}
}
