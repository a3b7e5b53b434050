package segment_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/standpipe/standpipe/wal/internal/segment"
)

func TestLedger_AddsEveryField(t *testing.T) {
	step := segment.Ledger{
		Delivered: segment.Count{Events: 1, Bytes: 10}, Dead: segment.Count{Events: 2, Bytes: 20},
		Dropped:  map[string]segment.Count{"full": {Events: 3, Bytes: 30}},
		Requests: 4, Records: 5, BilledBytes: 6, PutUnits: 7, LastDelivery: time.Unix(8, 0),
	}
	for i, fields := 0, reflect.ValueOf(step); i < fields.NumField(); i++ {
		if fields.Field(i).IsZero() {
			t.Fatalf("the step lacks %s", fields.Type().Field(i).Name)
		}
	}
	var l segment.Ledger
	l.Add(&step)
	if !reflect.DeepEqual(l, step) {
		t.Errorf("got %+v, want %+v", l, step)
	}
	again := step.Clone()
	again.LastDelivery = time.Time{}
	l.Add(&again)
	want := segment.Ledger{
		Delivered: segment.Count{Events: 2, Bytes: 20}, Dead: segment.Count{Events: 4, Bytes: 40},
		Dropped:  map[string]segment.Count{"full": {Events: 6, Bytes: 60}},
		Requests: 8, Records: 10, BilledBytes: 12, PutUnits: 14, LastDelivery: time.Unix(8, 0),
	}
	if !reflect.DeepEqual(l, want) {
		t.Errorf("got %+v, want %+v", l, want)
	}
}
