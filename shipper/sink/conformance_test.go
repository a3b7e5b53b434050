package sink_test

import (
	"bytes"
	"context"
	"slices"
	"testing"
	"time"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/sink"
	"github.com/standpipe/standpipe/test/fakeaws"
)

// target is a sink under the suite that every sink passes. A nil fault is one that the sink
// can't meet.
type target struct {
	name   string
	sink   shipper.Sink
	stored func() [][]byte // what is stored, a record each, in order

	failTwoAndFive func() // the next request fails the records at 2 and 5
	failRequest    []func()
	unknown        []func() // the next request is stored, its reply is of no use
}

func targets(t *testing.T) []target {
	aws := func(name string, srv *fakeaws.Server, s shipper.Sink) target {
		next := func(f fakeaws.Fault) func() { return func() { srv.FailNext(f) } }
		return target{
			name:           name,
			sink:           s,
			stored:         func() [][]byte { return storedData(srv) },
			failTwoAndFive: next(fakeaws.FailRecords("InternalFailure", "sorry", 2, 5)),
			failRequest: []func(){
				next(fakeaws.Throttle()),
				next(fakeaws.Refuse(500, "InternalFailure", "sorry")),
				next(fakeaws.RefuseEarly(413, "RequestEntityTooLarge", "too much")),
				next(fakeaws.CutBefore()),
			},
			unknown: []func(){
				next(fakeaws.CutWithin()),
				next(fakeaws.Garbage()),
				next(fakeaws.Blank()),
				next(fakeaws.Unnamed()),
				next(fakeaws.MoreResults(1)),
				next(fakeaws.MoreResults(-1)),
				next(fakeaws.Miscount(1)),
			},
		}
	}
	k, f := fakeaws.Start(t), fakeaws.Start(t)
	any, one := fakeaws.Start(t), fakeaws.Start(t)
	any.AnyOrder()
	strict := aws("kinesis, strict", one, openWith(t, one, sink.KinesisOptions{Order: sink.OrderStrict}))
	strict.failTwoAndFive = nil
	strict.unknown = strict.unknown[:4] // it has one result and no count
	return []target{
		aws("kinesis", k, openKinesis(t, k)),
		aws("kinesis, any order", any, openWith(t, any, sink.KinesisOptions{Order: sink.OrderNone})),
		strict,
		aws("firehose", f, openFirehose(t, f)),
		fileTarget(t),
	}
}

func storedData(srv *fakeaws.Server) [][]byte {
	var data [][]byte
	for _, r := range srv.Records() {
		data = append(data, r.Data)
	}
	return data
}

func TestConformance(t *testing.T) {
	suite := []struct {
		name string
		run  func(*testing.T, target)
	}{
		{"StoredIsWhatIsReported", storedIsReported},
		{"BytesAreExact", bytesAreExact},
		{"FullBatch", fullBatch},
		{"PartialFailure", partialFailure},
		{"RequestFailure", requestFailure},
		{"UnknownOutcomeIsNoSuccess", unknownOutcome},
		{"CanceledContextReturns", canceledReturns},
		{"ShapeIsSound", shapeIsSound},
	}
	for _, test := range suite {
		t.Run(test.name, func(t *testing.T) {
			for _, target := range targets(t) {
				t.Run(target.name, func(t *testing.T) { test.run(t, target) })
			}
		})
	}
}

func storedIsReported(t *testing.T, s target) {
	var want [][]byte
	for i := range 5 {
		batch := recordsFrom(uint64(1+i*10), 10)
		mustStore(t, s, batch)
		want = append(want, data(batch)...)
	}
	checkStored(t, s, want)
}

func bytesAreExact(t *testing.T, s target) {
	batch := records(3)
	batch[0].Data = []byte("\x00\xff\r \t\"\\\n")
	batch[1].Data = bytes.Repeat([]byte("x"), 900<<10)
	batch[1].Data[len(batch[1].Data)-1] = '\n'
	batch[2].Data = []byte("\n")
	mustStore(t, s, batch)
	checkStored(t, s, data(batch))
}

func fullBatch(t *testing.T, s target) {
	shape := s.sink.Shape()
	n := min(shape.BatchRecords, 500)
	batch := records(n)
	size := min(shape.MaxBatch/n, shape.MaxRecord) - len("key-999")
	for i := range batch {
		batch[i].Data = bytes.Repeat([]byte{byte('a' + i%26)}, size)
		batch[i].Data[size-1] = '\n'
	}
	mustStore(t, s, batch)
	checkStored(t, s, data(batch))
}

func partialFailure(t *testing.T, s target) {
	if s.failTwoAndFive == nil {
		return // it stores a batch whole or not at all
	}
	s.failTwoAndFive()
	batch := records(8)
	got := s.sink.Send(t.Context(), batch)
	if got.Err != nil || len(got.Results) != len(batch) {
		t.Fatalf("got %v, %d results", got.Err, len(got.Results))
	}
	for i, err := range got.Results {
		if failed := i == 2 || i == 5; failed != (err != nil) {
			t.Errorf("record %d: got %v", i, err)
		}
	}
	want := slices.Concat(data(batch[:2]), data(batch[3:5]), data(batch[6:]))
	checkStored(t, s, want)
}

func requestFailure(t *testing.T, s target) {
	for i, fail := range s.failRequest {
		fail()
		batch := records(min(3, s.sink.Shape().BatchRecords))
		if got := s.sink.Send(t.Context(), batch); !failed(got, len(batch)) {
			t.Errorf("fault %d: got %v, %d results", i, got.Err, len(got.Results))
		}
		checkStored(t, s, nil)
	}
	batch := records(3)
	mustStore(t, s, batch)
	checkStored(t, s, data(batch))
}

func unknownOutcome(t *testing.T, s target) {
	for i, fail := range s.unknown {
		fail()
		n := min(2, s.sink.Shape().BatchRecords)
		got := s.sink.Send(t.Context(), records(n))
		transient := func(e *shipper.Error) bool { return e != nil && e.Class == shipper.Transient }
		failures := got.Results
		if got.Err != nil {
			failures = []*shipper.Error{got.Err}
		}
		if !failed(got, n) || !slices.ContainsFunc(failures, transient) {
			t.Errorf("fault %d: got %+v, results %v", i, got.Err, got.Results)
		}
	}
}

func canceledReturns(t *testing.T, s target) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	done := make(chan shipper.Response, 1)
	batch := records(min(2, s.sink.Shape().BatchRecords))
	go func() { done <- s.sink.Send(ctx, batch) }()
	select {
	case got := <-done:
		if got.Err == nil || got.Err.Class != shipper.Transient || got.Err.Code != "canceled" {
			t.Errorf("got %+v", got.Err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("Send did not return")
	}
	checkStored(t, s, nil)
}

func shapeIsSound(t *testing.T, s target) {
	got := s.sink.Shape()
	if got.AimRecord > got.MaxRecord || got.AimBatch > got.MaxBatch || got.MaxRecord > got.MaxBatch ||
		got.BatchRecords < 1 || got.AimRecord < 1 || got.BilledStep < 1 {
		t.Errorf("got %+v", got)
	}
}

// failed tells whether no record of a batch of n was stored: the request failed, or each of them did.
func failed(got shipper.Response, n int) bool {
	if got.Err != nil {
		return got.Results == nil
	}
	return len(got.Results) == n && !slices.Contains(got.Results, nil)
}

// mustStore stores records in as many batches as they need.
func mustStore(t *testing.T, s target, records []shipper.Record) {
	t.Helper()
	for batch := range slices.Chunk(records, s.sink.Shape().BatchRecords) {
		storeBatch(t, s, batch)
	}
}

func storeBatch(t *testing.T, s target, batch []shipper.Record) {
	t.Helper()
	got := s.sink.Send(t.Context(), batch)
	if got.Err != nil || len(got.Results) != len(batch) {
		t.Fatalf("got %+v, %d results for %d records", got.Err, len(got.Results), len(batch))
	}
	for i, err := range got.Results {
		if err != nil {
			t.Fatalf("record %d: %v", i, err)
		}
	}
}

func checkStored(t *testing.T, s target, want [][]byte) {
	t.Helper()
	got := bytes.Join(s.stored(), nil)
	if !bytes.Equal(got, bytes.Join(want, nil)) {
		t.Fatalf("got %d bytes stored, want %d", len(got), len(bytes.Join(want, nil)))
	}
}

func data(batch []shipper.Record) [][]byte {
	all := make([][]byte, len(batch))
	for i, r := range batch {
		all[i] = r.Data
	}
	return all
}

var _ shipper.Sink = (*sink.Discard)(nil)
