package relay_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/standpipe/standpipe/agent/ingest"
	"github.com/standpipe/standpipe/client"
	standpipev1 "github.com/standpipe/standpipe/proto/standpipe/v1"
	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/sink/internal/failure"
	"github.com/standpipe/standpipe/shipper/sink/relay"
	"github.com/standpipe/standpipe/test/testkit"
	"github.com/standpipe/standpipe/wal"
)

func TestRelay_EventsArriveAsTheyAre(t *testing.T) {
	r := receive(t, nil)
	all := []wal.Event{
		{Offset: 5, Key: "k", Data: []byte("\x00\xff\n"), Time: -7},
		{Offset: 6, Key: "ключ", Data: nil, Time: 1, Attributes: map[string]string{"a": "1", "b": ""}},
		{Offset: 9, Key: strings.Repeat("k", 256), Data: bytes.Repeat([]byte("x"), 3<<20), Time: 2}, // more than a request aims for
		{Offset: 10, Key: "k", Data: []byte("last"), Time: 3},
	}
	got, err := ship(t, open(t, r.relayOptions()), all)
	if err != nil || got.Requests != 3 || got.Records != 4 || got.BilledBytes < 3<<20 {
		t.Fatalf("got %+v, %v", got, err)
	}
	check(t, r.stored("in"), all)
}

func TestRelay_DuplicatesAreNotStored(t *testing.T) {
	r := receive(t, nil)
	o := r.relayOptions()
	all := events(1, 301)
	for _, run := range []struct{ from, next uint64 }{
		{1, 101}, {1, 101}, {51, 101}, // again, as after a crash of the sender
		{51, 201}, {1, 301}, // cut differently: the receiver has a part
	} {
		s := open(t, o)
		if _, err := ship(t, s, all[run.from-1:run.next-1]); err != nil {
			t.Fatalf("%+v: %v", run, err)
		}
	}
	check(t, r.stored("in"), all)
}

func TestRelay_GapsAreAllowed(t *testing.T) {
	r := receive(t, nil)
	s := open(t, r.relayOptions())
	all := slices.DeleteFunc(events(1, 1001), func(e wal.Event) bool { return e.Offset%3 == 0 || 100 < e.Offset && e.Offset < 200 })
	for part := range slices.Chunk(all, 77) {
		if _, err := ship(t, s, part); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := ship(t, s, all[200:]); err != nil {
		t.Fatal(err)
	}
	check(t, r.stored("in"), all)
}

// Two copies of a log assign the same offsets to different events. The events from before the copy are the same.
func TestRelay_CopiesOfALogAreTwoProducers(t *testing.T) {
	r := receive(t, nil)
	o := r.relayOptions()
	if _, err := ship(t, open(t, o), events(1, 20)); err != nil {
		t.Fatal(err)
	}
	o.Branches = append(o.Branches, wal.Branch{First: 11, ID: "LOG.copy"})
	if _, err := ship(t, open(t, o), events(1, 20)); err != nil {
		t.Fatal(err)
	}
	check(t, r.stored("in"), append(events(1, 20), events(11, 20)...))
}

// Destinations leave out different events, so each is a producer of its own.
func TestRelay_DestinationsAreTwoProducers(t *testing.T) {
	r := receive(t, nil)
	o := r.relayOptions()
	if _, err := ship(t, open(t, o), events(20, 30)); err != nil {
		t.Fatal(err)
	}
	for _, long := range []string{"other", strings.Repeat("o", 128)} {
		o.Destination = long
		if _, err := ship(t, open(t, o), events(1, 30)); err != nil {
			t.Fatal(err)
		}
	}
	check(t, r.stored("in"), slices.Concat(events(20, 30), events(1, 30), events(1, 30)))
}

// A run that sends events again on purpose is a producer of its own, and so is each further one. Within it, duplicates are
// recognized.
func TestRelay_RunStoresEventsAgain(t *testing.T) {
	r := receive(t, nil)
	o := r.relayOptions()
	for _, o.Run = range []string{"", "replay-1", "replay-2"} {
		for range 2 {
			if _, err := ship(t, open(t, o), events(1, 30)); err != nil {
				t.Fatal(err)
			}
		}
	}
	check(t, r.stored("in"), slices.Concat(events(1, 30), events(1, 30), events(1, 30)))
}

// Senders are killed, connections are cut, and the receiver is restarted: each event arrives once, in order.
func TestRelay_EachEventOnceThroughFaults(t *testing.T) {
	seeds := uint64(20)
	if testing.Short() {
		seeds = 5
	}
	for seed := range seeds {
		r := rand.New(rand.NewPCG(seed, 12))
		var chance atomic.Int64 // of a cut, in a thousand
		faults := rand.New(rand.NewPCG(seed, 13))
		lock := make(chan struct{}, 1)
		to := receive(t, func(to *receiver) {
			to.cut = func() bool {
				lock <- struct{}{}
				defer func() { <-lock }()
				return faults.Int64N(1000) < chance.Load()
			}
		})
		all := slices.DeleteFunc(events(1, 3001), func(wal.Event) bool { return r.IntN(50) == 0 })
		chance.Store(r.Int64N(100))
		s := open(t, to.relayOptions())
		for settled := 0; settled < len(all); {
			switch r.IntN(20) {
			case 0: // a kill after the last settlement
				s = open(t, to.relayOptions())
			case 1:
				to.restart()
			case 2:
				settled -= min(settled, r.IntN(200)) // a kill that loses settlements
				s = open(t, to.relayOptions())
			}
			n := min(len(all)-settled, 1+r.IntN(300))
			n, err := s.Add(t.Context(), all[settled:settled+n])
			if err != nil {
				t.Fatal(err)
			}
			s.Seal()
			for range 3 {
				if _, err = s.Commit(t.Context()); err == nil {
					break
				}
				if err.Class != shipper.Transient {
					t.Fatalf("got %v", err)
				}
				time.Sleep(time.Millisecond)
			}
			if err != nil {
				s.Abort(t.Context())
				s = open(t, to.relayOptions()) // gRPC would wait before it connects again
				continue
			}
			settled += n
		}
		chance.Store(0)
		check(t, to.stored("in"), all)
	}
}

func TestRelay_RejectedEventIsNamed(t *testing.T) {
	r := receive(t, func(r *receiver) {
		r.options.Streams = rules{ingest.StreamRules{Format: ingest.FormatJSON, MaxEventSize: 1000}}
	})
	s := open(t, r.relayOptions())
	all := events(1, 101)
	all[16].Data, all[80].Data = []byte("no JSON"), bytes.Repeat([]byte("1"), 1001)
	for _, want := range []struct {
		offset uint64
		text   string
	}{{17, "not valid JSON"}, {81, "max_event_size allows 1000"}} {
		_, err := ship(t, s, all)
		if err == nil || !err.Restart || err.Class != shipper.Poison || len(err.Rejected) != 1 || err.Rejected[0].Offset != want.offset || !strings.Contains(err.Rejected[0].Reason, want.text) {
			t.Fatalf("got %+v, want offset %d", err, want.offset)
		}
		s.Abort(t.Context())
		all = slices.DeleteFunc(all, func(e wal.Event) bool { return e.Offset == want.offset })
	}
	if _, err := ship(t, s, all); err != nil {
		t.Fatal(err)
	}
	check(t, r.stored("in"), all)
}

func TestRelay_FullReceiverThrottles(t *testing.T) {
	r := receive(t, func(r *receiver) { r.wal = wal.Options{MaxSize: 2 << 20, SegmentSize: 512 << 10} })
	s := open(t, r.relayOptions())
	all := events(1, 101)
	for i := range all {
		all[i].Data = bytes.Repeat([]byte("x"), 64<<10)
	}
	_, err := ship(t, s, all)
	if err == nil || err.Class != shipper.Throttled || err.Code != "RESOURCE_EXHAUSTED" || err.RetryAfter <= 0 || err.Restart {
		t.Fatalf("got %+v", err)
	}
}

// A range that the receiver's listener rejects as too large goes in smaller requests.
func TestRelay_RequestsShrinkToTheReceiversLimit(t *testing.T) {
	r := receive(t, func(r *receiver) { r.options.MaxRequestSize = 100 << 10 })
	s := open(t, r.relayOptions())
	all := events(1, 201)
	for i := range all {
		all[i].Data = bytes.Repeat([]byte("x"), 10<<10)
	}
	restarts := 0
	for {
		_, err := ship(t, s, all)
		if err == nil {
			break
		}
		if restarts++; !err.TooLarge || !err.Restart || restarts > 10 {
			t.Fatalf("got %+v", err)
		}
		s.Abort(t.Context())
	}
	check(t, r.stored("in"), all)
	if restarts == 0 {
		t.Error("no request was too large")
	}
	all[0].Data = bytes.Repeat([]byte("x"), 200<<10)
	all[0].Offset = 1000
	if _, err := ship(t, s, all[:1]); err == nil || err.Class != shipper.Operator || !strings.Contains(err.Text, "max_request_size") {
		t.Errorf("one event: got %+v", err)
	}
}

func TestRelay_OperatorIsTold(t *testing.T) {
	r := receive(t, nil)
	o := r.relayOptions()
	o.Stream = "unknown"
	_, err := ship(t, open(t, o), events(1, 2))
	if err == nil || err.Class != shipper.Operator || err.Code != "NOT_FOUND" || !strings.Contains(err.Text, "add a stream block") {
		t.Errorf("got %+v", err)
	}
	o.Address = "127.0.0.1:1"
	if _, err := ship(t, open(t, o), events(1, 2)); err == nil || err.Class != shipper.Transient || err.Code != "connection" {
		t.Errorf("got %+v", err)
	}
}

// After the start a request is small. One without a response in time is halved, down to one event: the link may be slow.
func TestRelay_RequestsShrinkWithoutAResponse(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.Must(t, err)
	server := grpc.NewServer()
	standpipev1.RegisterIngestServer(server, silent{})
	go server.Serve(listener)
	defer server.Stop()
	o := receive(t, nil).relayOptions()
	o.Address, o.Timeout = listener.Addr().String(), 300*time.Millisecond
	s := open(t, o)
	all := events(1, 5000)
	for most := 8 << 10; ; {
		n, failed := s.Add(t.Context(), all)
		size := 0
		for i := range n {
			size += all[i].Size()
		}
		if failed != nil || n == 0 || n > 1 && size > most+most/16 {
			t.Fatalf("got %d events of %d bytes, %v; want at most %d bytes", n, size, failed, most)
		}
		_, failed = s.Commit(t.Context())
		s.Abort(t.Context())
		switch {
		case failed != nil && failed.Code == failure.CodeConnection: // it is that of the last request, which was given up
		case failed == nil || failed.Code != shipper.CodeTimeout || failed.Restart != (n > 1):
			t.Fatalf("with %d events: got %+v", n, failed)
		case n == 1:
			return
		default:
			most /= 2
		}
	}
}

// silent receives requests and never responds.
type silent struct {
	standpipev1.UnimplementedIngestServer
}

func (silent) Append(ctx context.Context, _ *standpipev1.AppendRequest) (*standpipev1.AppendResponse, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestRelay_DeliveredWaitsForTheReceiversDestinations(t *testing.T) {
	r := receive(t, nil)
	cursor, err := r.log.OpenCursor("in", "there")
	testkit.Must(t, err)
	o := r.relayOptions()
	o.Ack, o.Timeout = client.AckDelivered, 2*time.Second // in which the receiver stores the events
	s := open(t, o)
	if _, err := ship(t, s, events(1, 3)); err == nil || err.Class != shipper.Transient || err.Code != shipper.CodeTimeout || err.Restart {
		t.Fatalf("got %+v", err)
	}
	testkit.Eventually(t, time.Minute, func() error { // the disk may take longer than the timeout
		if got := len(r.stored("in")); got != 2 {
			return fmt.Errorf("the receiver has stored %d events", got)
		}
		return nil
	})
	for _, e := range r.stored("in") {
		testkit.Must(t, cursor.Settle(wal.Settlement{
			Lanes: map[uint8]wal.Progress{e.Lane: {Checkpoint: e.Offset + 1}},
			Add:   wal.Ledger{Delivered: wal.Count{Events: 1, Bytes: uint64(len(e.Data))}},
		}))
	}
	requests := 1
	for tries := 0; ; tries++ {
		o2, failed := s.Commit(t.Context())
		requests++
		if failed != nil && failed.Code == shipper.CodeTimeout && tries < 30 {
			continue // a busy machine
		}
		if failed != nil || o2.Records != 2 || o2.Requests != requests {
			t.Errorf("got %+v, %v, want 2 records in %d requests", o2, failed, requests)
		}
		return
	}
}

func TestRelay_WrongOptions(t *testing.T) {
	good := relay.Options{Address: "127.0.0.1:1", Stream: "s", Source: "s", Destination: "d", Branches: []wal.Branch{{First: 1, ID: "L"}}}
	for want, change := range map[string]func(*relay.Options){
		"no stream":     func(o *relay.Options) { o.Stream = "" },
		"no ID":         func(o *relay.Options) { o.Branches = nil },
		"ack level":     func(o *relay.Options) { o.Ack = client.AckAccepted },
		"are allowed":   func(o *relay.Options) { o.Address = "site" },
		"read token":    func(o *relay.Options) { o.TokenFile = "absent" },
		"certificates:": func(o *relay.Options) { o.TLS = &relay.TLS{CAFile: "absent"} },
		"certificate:":  func(o *relay.Options) { o.TLS = &relay.TLS{CertFile: "absent", KeyFile: "absent"} },
	} {
		o := good
		change(&o)
		if _, err := relay.New(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// scripted rejects each request with the next of its errors.
type scripted struct {
	standpipev1.UnimplementedIngestServer
	errors []*errdetails.ErrorInfo
	got    []*standpipev1.AppendRequest
}

func (s *scripted) Append(_ context.Context, m *standpipev1.AppendRequest) (*standpipev1.AppendResponse, error) {
	answer, err := status.New(codes.InvalidArgument, "rejected").WithDetails(s.errors[len(s.got)])
	s.got = append(s.got, m)
	if err != nil {
		return nil, err
	}
	return nil, answer.Err()
}

// The receiver has the first events of a range, and rejects one of the others: its index counts from the first of these.
func TestRelay_RejectedEventAfterAStoredPartIsNamed(t *testing.T) {
	to := &scripted{errors: []*errdetails.ErrorInfo{
		{Reason: "sequence", Metadata: map[string]string{"next_sequence": "41"}},
		{Reason: "invalid_json", Metadata: map[string]string{"event": "2"}},
	}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.Must(t, err)
	server := grpc.NewServer()
	standpipev1.RegisterIngestServer(server, to)
	go server.Serve(l)
	t.Cleanup(server.Stop)
	r := &receiver{address: l.Addr().String()}
	_, failed := ship(t, open(t, r.relayOptions()), events(1, 101))
	if failed == nil || failed.Class != shipper.Poison || len(failed.Rejected) != 1 || failed.Rejected[0].Offset != 43 {
		t.Errorf("got %+v, want event 43 rejected", failed)
	}
	if len(to.got) != 2 || to.got[1].ProducerSequence != 41 || len(to.got[1].Events) != 60 {
		t.Errorf("got %d requests, want a second one with the events from 41", len(to.got))
	}
}
