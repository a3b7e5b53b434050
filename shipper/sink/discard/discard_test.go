package discard_test

import (
	"testing"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/sink/discard"
)

func TestSink_ReportsEveryRecordAsStored(t *testing.T) {
	s := discard.New(shipper.Shape{BatchRecords: 7})
	if got := s.Shape().BatchRecords; got != 7 {
		t.Errorf("got a shape with %d records", got)
	}
	got := s.Send(t.Context(), make([]shipper.Record, 3))
	if got.Err != nil || len(got.Results) != 3 || got.Results[0] != nil || got.Results[2] != nil {
		t.Errorf("got %+v, want three records stored", got)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
