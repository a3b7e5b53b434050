package shipper_test

import (
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/standpipe/standpipe/shipper"
)

// A forecast matches the real bill of a shipper with a log and a service.
func TestAForecastIsWhatShippingComesTo(t *testing.T) {
	kinesis := shipper.Shape{Framing: shipper.FramingKPL, OneKey: true, KeyCounts: true, MaxRecord: 1 << 20, AimRecord: 500 << 10,
		BatchRecords: 500, MaxBatch: 5 << 20, AimBatch: 5 << 20, BilledStep: 1 << 10, UnitStep: 25 << 10}
	enveloped := wholeFirehose()
	enveloped.Envelope = &shipper.Envelope{Log: "01JD0000000000000000000000", Stream: "s", Format: shipper.EnvelopeText}
	for _, tt := range []struct {
		name  string
		shape shipper.Shape
		traffic
	}{
		{"firehose", wholeFirehose(), traffic{perSecond: 500, size: 512, keys: 1000}},
		{"firehose", wholeFirehose(), traffic{perSecond: 20, size: 512, keys: 100}},
		{"firehose", wholeFirehose(), traffic{perSecond: 2000, size: 100, keys: 24}},
		{"firehose, envelope", enveloped, traffic{perSecond: 200, size: 300, keys: 24}},
		{"kinesis", kinesis, traffic{perSecond: 500, size: 512, keys: 100}},
	} {
		t.Run(tt.name+"/"+tt.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := &meter{shape: tt.shape}
				tt.exact = true
				st := tt.ship(t, m, 20*time.Second)
				got := shipper.Predict(tt.shape, shipper.Traffic{PerSecond: float64(tt.perSecond), Size: tt.size, Keys: tt.keys}, time.Second)
				events := float64(st.Delivered.Events)
				near(t, "billed bytes an event", got.Billed/got.Events, float64(st.BilledBytes)/events, 0.06)
				near(t, "put units an event", got.Units/got.Events, float64(st.PutUnits)/events, 0.25)
				near(t, "records an event", got.Records/got.Events, float64(st.Records)/events, 0.25)
				near(t, "requests an event", got.Requests/got.Events, float64(st.Requests)/events, 0.25)
				if got.Payload != float64(tt.perSecond*tt.size) {
					t.Errorf("payload %v a second, want %d", got.Payload, tt.perSecond*tt.size)
				}
			})
		})
	}
}

// A service that bills requests by their size gets several units for a large one.
func TestAForecastCountsStepsOfRequests(t *testing.T) {
	shape := shipper.Shape{Framing: shipper.FramingNone, OneKey: true, RecordEvents: 1, BatchRecords: 10, MaxRecord: 1 << 20, AimRecord: 1 << 20,
		MaxBatch: 1 << 20, AimBatch: 1 << 20, BilledStep: 1, RequestStep: 64 << 10}
	for size, units := range map[int]float64{100: 1, 10 << 10: 2, 60 << 10: 10} {
		got := shipper.Predict(shape, shipper.Traffic{PerSecond: 1000, Size: size, Keys: 1000}, 100*time.Millisecond)
		near(t, "units a request", got.Units/got.Requests, units, 0.05)
		near(t, "events a request", got.Events/got.Requests, 10, 0.05)
	}
}

func near(t *testing.T, what string, got, want, off float64) {
	t.Helper()
	if math.Abs(got-want) > off*want {
		t.Errorf("%s: got %.4f, want %.4f", what, got, want)
	}
}

// Compressed records are billed by their compressed size.
func TestAForecastKnowsCompression(t *testing.T) {
	plain := shipper.Predict(wholeFirehose(), shipper.Traffic{PerSecond: 1000, Size: 1000, Keys: 100}, time.Second)
	shape := wholeFirehose()
	shape.Compression, shape.RecordEvents = shipper.Gzip, 0
	small := shipper.Predict(shape, shipper.Traffic{PerSecond: 1000, Size: 1000, Keys: 100, Compression: 5}, time.Second)
	near(t, "billed bytes", small.Billed, plain.Billed/5, 0.05)
	slow := shipper.Predict(shape, shipper.Traffic{PerSecond: 0.01, Size: 1000, Keys: 1}, time.Second)
	near(t, "billed bytes of an event alone", slow.Billed/slow.Events, 5<<10, 0.01)
}
