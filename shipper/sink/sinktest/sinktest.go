package sinktest

import (
	"bytes"
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/standpipe/standpipe/shipper"
)

// Target is a sink under test, with the means to look at its destination and to make its next request fail.
type Target struct {
	Sink shipper.Sink

	// Stored returns the bytes that the destination holds, in the order in which it stored them. It is called between
	// two requests, and may finish everything that the sink has open.
	Stored func() []byte

	// Atomic declares that the sink stores a batch whole or not at all.
	Atomic bool

	// FailRecords makes the next request fail for the records at these indexes and store the others. It is nil for a
	// sink that is Atomic, or whose batches hold one record.
	FailRecords func(indexes ...int)

	// FailRequest has one function for each kind of failed request. The request after the call stores nothing, and its
	// response reports that, or is missing.
	FailRequest []func()

	// LoseResponse has one function for each kind of unusable response. The request after the call stores its records,
	// but its response doesn't show that. Empty for a sink whose destination is this host.
	LoseResponse []func()

	// Local declares that the destination is this host: there is no connection that hangs, and there are no credentials.
	Local bool

	// Hang gives the next request no response before its client has ended it. arrived is called when the request is there.
	Hang func(arrived func())

	// Deny makes the service reject the credentials of the next request.
	Deny func()
}

// Run runs the suite. open starts a fake and a sink that writes to it; it is called for each test.
func Run(t *testing.T, open func(t *testing.T) Target) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, Target)
	}{
		{"StoredIsWhatIsReported", storedIsReported},
		{"BytesAreExact", bytesAreExact},
		{"FullBatch", fullBatch},
		{"PartialFailure", partialFailure},
		{"RequestFailure", requestFailure},
		{"UnknownOutcomeIsNoSuccess", unknownOutcome},
		{"CanceledContextReturns", canceledReturns},
		{"HangingRequestEnds", hangingEnds},
		{"WrongCredentialsNeedAnOperator", wrongCredentials},
		{"ConcurrentSends", concurrentSends},
		{"ShapeIsSound", shapeIsSound},
		{"StateComesWithTheResponse", stateComes},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open(t)) })
	}
}

func storedIsReported(t *testing.T, s Target) {
	var want [][]byte
	for i := range 5 {
		batch := RecordsFrom(uint64(1+i*10), 10)
		mustStore(t, s, batch)
		want = append(want, payloads(batch)...)
	}
	checkStored(t, s, want)
}

func bytesAreExact(t *testing.T, s Target) {
	batch := Records(3)
	batch[0].Data = []byte("\x00\xff\r \t\"\\\n")
	batch[1].Data = bytes.Repeat([]byte("x"), min(900<<10, s.Sink.Shape().MaxRecord-len(batch[1].Key)))
	batch[1].Data[len(batch[1].Data)-1] = '\n'
	batch[2].Data = []byte("\n")
	mustStore(t, s, batch)
	checkStored(t, s, payloads(batch))
}

func fullBatch(t *testing.T, s Target) {
	shape := s.Sink.Shape()
	n := min(shape.BatchRecords, 500)
	batch := Records(n)
	size := min(shape.MaxBatch/n, shape.MaxRecord) - len("key-999")
	for i := range batch {
		batch[i].Data = bytes.Repeat([]byte{byte('a' + i%26)}, size)
		batch[i].Data[size-1] = '\n'
	}
	mustStore(t, s, batch)
	checkStored(t, s, payloads(batch))
}

func partialFailure(t *testing.T, s Target) {
	if s.Atomic || s.Sink.Shape().BatchRecords == 1 {
		t.Skip("the sink stores a batch whole or not at all")
	}
	if s.FailRecords == nil {
		t.Fatal("the target has no FailRecords, and is not Atomic")
	}
	s.FailRecords(2, 5)
	batch := Records(8)
	got := s.Sink.Send(t.Context(), batch)
	if got.Err != nil || len(got.Results) != len(batch) {
		t.Fatalf("got %v, %d results", got.Err, len(got.Results))
	}
	for i, err := range got.Results {
		if failed := i == 2 || i == 5; failed != (err != nil) {
			t.Errorf("record %d: got %v", i, err)
		}
	}
	want := slices.Concat(payloads(batch[:2]), payloads(batch[3:5]), payloads(batch[6:]))
	checkStored(t, s, want)
}

func requestFailure(t *testing.T, s Target) {
	if len(s.FailRequest) == 0 {
		t.Fatal("the target has no FailRequest")
	}
	for i, fail := range s.FailRequest {
		fail()
		batch := Records(min(3, s.Sink.Shape().BatchRecords))
		if got := s.Sink.Send(t.Context(), batch); !failed(got, len(batch)) {
			t.Errorf("fault %d: got %v, %d results", i, got.Err, len(got.Results))
		}
		checkStored(t, s, nil)
	}
	batch := Records(3)
	mustStore(t, s, batch)
	checkStored(t, s, payloads(batch))
}

func unknownOutcome(t *testing.T, s Target) {
	for i, lose := range s.LoseResponse {
		lose()
		n := min(2, s.Sink.Shape().BatchRecords)
		got := s.Sink.Send(t.Context(), Records(n))
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

func canceledReturns(t *testing.T, s Target) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	batch := Records(min(2, s.Sink.Shape().BatchRecords))
	// A select whose cases are all ready takes one at random: often enough, a sink that leaves it to one would store them.
	for range 20 {
		done := make(chan shipper.Response, 1)
		go func() { done <- s.Sink.Send(ctx, batch) }()
		select {
		case got := <-done:
			if got.Err == nil || got.Err.Class != shipper.Transient || got.Err.Code != "canceled" {
				t.Errorf("got %+v", got.Err)
			}
		case <-time.After(time.Minute):
			t.Fatal("Send did not return")
		}
	}
	checkStored(t, s, nil)
}

// hangingEnds ends the context of a request that has no response. The records may be stored; the sink goes on.
func hangingEnds(t *testing.T, s Target) {
	if s.Local {
		t.Skip("the destination is this host")
	}
	if s.Hang == nil {
		t.Fatal("the target has no Hang, and is not Local")
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s.Hang(cancel)
	done := make(chan shipper.Response, 1)
	go func() { done <- s.Sink.Send(ctx, Records(1)) }()
	select {
	case got := <-done:
		if !failed(got, 1) || got.Err == nil || got.Err.Class != shipper.Transient {
			t.Errorf("got %+v", got)
		}
	case <-time.After(time.Minute):
		t.Fatal("Send did not return")
	}
	mustStore(t, s, RecordsFrom(2, 3))
}

// wrongCredentials checks that rejected credentials are no record's fault, and that the sink goes on once they are right.
func wrongCredentials(t *testing.T, s Target) {
	if s.Local {
		t.Skip("the destination is this host")
	}
	if s.Deny == nil {
		t.Fatal("the target has no Deny, and is not Local")
	}
	s.Deny()
	batch := Records(min(3, s.Sink.Shape().BatchRecords))
	got := s.Sink.Send(t.Context(), batch)
	failures := got.Results
	if got.Err != nil {
		failures = []*shipper.Error{got.Err}
	}
	if !failed(got, len(batch)) || slices.ContainsFunc(failures, func(e *shipper.Error) bool { return e.Class != shipper.Operator || e.Text == "" }) {
		t.Errorf("got %v, results %v, want errors that need an operator", got.Err, got.Results)
	}
	checkStored(t, s, nil)
	mustStore(t, s, batch)
	checkStored(t, s, payloads(batch))
}

// concurrentSends sends batches of different keys at once, unless the sink takes one batch at a time.
func concurrentSends(t *testing.T, s Target) {
	shape := s.Sink.Shape()
	if shape.WholeOrder {
		t.Skip("the sink takes one batch at a time")
	}
	var all [][]byte
	var group sync.WaitGroup
	for i := range 8 {
		batch := RecordsFrom(uint64(100*i+1), min(20, shape.BatchRecords))
		all = append(all, payloads(batch)...)
		group.Go(func() {
			if got := s.Sink.Send(t.Context(), batch); failed(got, len(batch)) || slices.ContainsFunc(got.Results, isError) {
				t.Errorf("got %+v", got)
			}
		})
	}
	group.Wait()
	lines := func(b []byte) []string {
		found := slices.Collect(func(yield func(string) bool) {
			for line := range bytes.Lines(b) {
				if !yield(string(line)) {
					return
				}
			}
		})
		slices.Sort(found)
		return found
	}
	if got, want := lines(s.Stored()), lines(bytes.Join(all, nil)); !slices.Equal(got, want) {
		t.Errorf("got %d lines stored, want %d", len(got), len(want))
	}
}

func shapeIsSound(t *testing.T, s Target) {
	got := s.Sink.Shape()
	if got.AimRecord > got.MaxRecord || got.AimBatch > got.MaxBatch || got.MaxRecord > got.MaxBatch ||
		got.BatchRecords < 1 || got.AimRecord < 1 || got.BilledStep < 1 {
		t.Errorf("got %+v", got)
	}
}

// stateComes checks that a Keeper has a state before the first Send, and that a response that reports stored records
// carries one.
func stateComes(t *testing.T, s Target) {
	keeper, ok := s.Sink.(shipper.Keeper)
	if !ok {
		t.Skip("the sink keeps no state")
	}
	if keeper.State() == nil {
		t.Error("no state before the first Send")
	}
	for i := range 3 {
		got := s.Sink.Send(t.Context(), RecordsFrom(uint64(1+i), 1))
		if got.Err != nil || got.State == nil {
			t.Fatalf("got error %v, state %q", got.Err, got.State)
		}
		keeper.Committed(got.State)
	}
}

func isError(e *shipper.Error) bool { return e != nil }

// failed reports whether no record of a batch of n was stored: the request failed, or each record did.
func failed(got shipper.Response, n int) bool {
	if got.Err != nil {
		return got.Results == nil
	}
	return len(got.Results) == n && !slices.Contains(got.Results, nil)
}

// mustStore stores records in as few batches as the sink's shape allows.
func mustStore(t *testing.T, s Target, records []shipper.Record) {
	t.Helper()
	for batch := range slices.Chunk(records, s.Sink.Shape().BatchRecords) {
		storeBatch(t, s, batch)
	}
}

func storeBatch(t *testing.T, s Target, batch []shipper.Record) {
	t.Helper()
	got := s.Sink.Send(t.Context(), batch)
	if got.Err != nil || len(got.Results) != len(batch) {
		t.Fatalf("got %+v, %d results for %d records", got.Err, len(got.Results), len(batch))
	}
	for i, err := range got.Results {
		if err != nil {
			t.Fatalf("record %d: %v", i, err)
		}
	}
}

func checkStored(t *testing.T, s Target, want [][]byte) {
	t.Helper()
	got := s.Stored()
	if !bytes.Equal(got, bytes.Join(want, nil)) {
		t.Fatalf("got %d bytes stored, want %d", len(got), len(bytes.Join(want, nil)))
	}
}
