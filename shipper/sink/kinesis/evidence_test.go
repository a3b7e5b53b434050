package kinesis_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/kpl"
	"github.com/standpipe/standpipe/shipper/sink"
	"github.com/standpipe/standpipe/shipper/sink/kinesis"
	"github.com/standpipe/standpipe/test/fakeaws"
	"github.com/standpipe/standpipe/wal"
)

// movingStream is a Kinesis stream that changes while events are sent. It counts the events that a consumer with
// Amazon's library gets: the library discards an aggregated record whole if one of its keys lies outside the shard.
type movingStream struct {
	mu        sync.Mutex
	shards    int           // number of equal ranges of hash keys
	auto      bool          // keys are ignored; the shards take turns
	silent    bool          // describing the stream is not allowed
	change    func()        // called once, in a PutRecords after the first; mu is held
	hold      time.Duration // delay of the response to that request
	puts      int
	described int
	got       map[string]int // deliveries by event
	joined    int            // number of aggregated records
	astray    int            // number of records that consumers discard
}

var space = new(big.Int).Lsh(big.NewInt(1), 128)

// bounds returns the first hash key of part i of n, and the one after its last.
func bounds(i, n int) (first, after *big.Int) {
	at := func(i int) *big.Int {
		b := new(big.Int).Mul(space, big.NewInt(int64(i)))
		return b.Div(b, big.NewInt(int64(n)))
	}
	return at(i), at(i + 1)
}

func (s *movingStream) find(key string) int {
	h := shipper.HashOf(key)
	n := new(big.Int).SetBytes(h[:])
	return int(n.Div(n.Mul(n, big.NewInt(int64(s.shards))), space).Int64())
}

func (s *movingStream) name(i, n int) string { return fmt.Sprintf("shard-%d-of-%d", i, n) }

func (s *movingStream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	switch r.Header.Get("X-Amz-Target") {
	case "Kinesis_20131202.DescribeStreamSummary":
		s.describe(w)
	case "Kinesis_20131202.ListShards":
		s.list(w)
	case "Kinesis_20131202.PutRecords":
		s.put(w, r, body)
	}
}

func (s *movingStream) describe(w http.ResponseWriter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.described++
	if s.silent {
		w.WriteHeader(400)
		fmt.Fprint(w, `{"__type":"AccessDeniedException","message":"no"}`)
		return
	}
	strategy := map[bool]string{true: "AUTO", false: "USER_PARTITION_KEY"}[s.auto]
	fmt.Fprintf(w, `{"StreamDescriptionSummary":{"MaxRecordSizeInKiB":1024,"RecordDistributionStrategy":%q}}`, strategy)
}

// list lists the open shards and, once they are closed, the first two.
func (s *movingStream) list(w http.ResponseWriter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []any
	add := func(n int, numbers map[string]string) {
		for i := range n {
			first, after := bounds(i, n)
			all = append(all, map[string]any{"ShardId": s.name(i, n), "SequenceNumberRange": numbers, "HashKeyRange": map[string]string{
				"StartingHashKey": first.String(), "EndingHashKey": after.Sub(after, big.NewInt(1)).String()}})
		}
	}
	if s.shards != 2 {
		add(2, map[string]string{"StartingSequenceNumber": "1", "EndingSequenceNumber": "2"})
	}
	add(s.shards, map[string]string{"StartingSequenceNumber": "1"})
	json.NewEncoder(w).Encode(map[string]any{"Shards": all})
}

func (s *movingStream) put(w http.ResponseWriter, r *http.Request, body []byte) {
	var req struct {
		Records []struct {
			Data         []byte
			PartitionKey string
		}
	}
	fakeaws.Decode(r, body, &req)
	s.mu.Lock()
	var hold time.Duration
	if s.change != nil && s.puts > 0 {
		s.change()
		s.change, hold = nil, s.hold
	}
	s.puts++
	var out []any
	for i, rec := range req.Records {
		shard := s.find(rec.PartitionKey)
		if s.auto {
			shard = (s.puts + i) % s.shards
		}
		s.consume(shard, rec.PartitionKey, rec.Data)
		out = append(out, map[string]string{"SequenceNumber": "1", "ShardId": s.name(shard, s.shards)})
	}
	s.mu.Unlock()
	time.Sleep(hold)
	w.Write(fakeaws.Encode(w, r, map[string]any{"FailedRecordCount": 0, "Records": out}))
}

func (s *movingStream) consume(shard int, key string, data []byte) {
	groups, aggregated, err := kpl.Decode(data)
	if err != nil {
		panic(err)
	}
	if !aggregated {
		s.got[string(data)]++
		return
	}
	s.joined++
	for _, g := range groups {
		if s.find(g.Key) != shard {
			s.astray++
			return
		}
	}
	for _, g := range groups {
		for _, p := range g.Payloads {
			s.got[string(p)]++
		}
	}
}

// ship ships rounds of events of 40 keys while the stream changes. It returns the ledger at the end or, if enough is
// set, once enough returns true.
func (s *movingStream) ship(t *testing.T, o kinesis.Options, rounds int, enough func() bool) (wal.CursorStat, *kinesis.Sink) {
	t.Helper()
	s.got = make(map[string]int)
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	o.Stream, o.ShardsAgain = "s", 20*time.Millisecond
	o.AWS = sink.AWS{Region: "eu-west-1", Endpoint: srv.URL, Credentials: credentials.NewStaticCredentialsProvider("A", "s", "")}
	k, err := kinesis.New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	go func() { k.Learn(ctx); k.Follow(ctx) }()
	wait(t, func() bool { return k.Shards() != nil })
	log, err := wal.Open(ctx, wal.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	place, err := log.OpenCursor("s", "d")
	if err != nil {
		t.Fatal(err)
	}
	ship := shipper.New(shipper.Options{Source: log, Cursor: place, Sink: k, MaxDelay: time.Millisecond})
	done := make(chan error, 1)
	go func() { done <- ship.Run(ctx) }()
	for round := range rounds {
		b := &wal.Batch{Stream: "s"}
		for i := range 80 {
			b.Events = append(b.Events, wal.Event{Key: fmt.Sprint("key", i%40), Data: fmt.Appendf(nil, "event-%d-%d", round, i), Time: 1})
		}
		if _, err := log.Append(ctx, b); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
	}
	if enough == nil {
		ship.Finish()
	} else {
		wait(t, enough)
		ship.Halt(ctx)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return place.Stat(), k
}

// expectAll fails the test unless a consumer got each event once.
func (s *movingStream) expectAll(t *testing.T, name string, rounds int) {
	t.Helper()
	twice := 0
	for _, n := range s.got {
		twice += n - 1
	}
	if want := rounds * 80; len(s.got) != want || twice > 0 {
		t.Errorf("%s: a consumer got %d events, %d times too often, want %d once", name, len(s.got), twice, want)
	}
}

// The new map may arrive before the response to a request that was made with the old one, or after it.
func TestReshard_ByShardWhoeverLearnsOfItFirst(t *testing.T) {
	for _, hold := range []time.Duration{0, 100 * time.Millisecond} {
		for _, shards := range []int{1, 3, 4, 8} {
			s := &movingStream{shards: 2, hold: hold}
			s.change = func() { s.shards = shards }
			st, _ := s.ship(t, kinesis.Options{ByShard: true, CheckKeys: 10 * time.Millisecond}, 5, nil)
			name := fmt.Sprintf("2 shards become %d, the reply comes %v later", shards, hold)
			s.expectAll(t, name, 5)
			if st.Delivered.Events != 400 {
				t.Errorf("%s: %d delivered", name, st.Delivered.Events)
			}
		}
	}
}

// A stream is switched to AUTO while events are sent. The first response that shows it stops aggregation. Records that
// consumers discard are sent again, one event a record.
func TestEvidence_StreamThatBeginsToIgnoreKeys(t *testing.T) {
	for _, byShard := range []bool{false, true} {
		t.Run(fmt.Sprintf("by shard %v", byShard), func(t *testing.T) {
			s := &movingStream{shards: 2}
			s.change = func() { s.auto = true }
			_, k := s.ship(t, kinesis.Options{ByShard: byShard, CheckKeys: time.Hour, Order: sink.OrderNone}, 10, nil)
			s.expectAll(t, "any order", 10)
			if s.described != 2 || k.Shards() != nil || k.Shape().RecordEvents != 1 {
				t.Errorf("described %d times, shape %+v", s.described, k.Shape())
			}

			s = &movingStream{shards: 2}
			s.change = func() { s.auto = true }
			st, _ := s.ship(t, kinesis.Options{ByShard: byShard, CheckKeys: time.Hour}, 3, func() bool {
				s.mu.Lock()
				defer s.mu.Unlock()
				return s.described == 2
			})
			if got, want := int(st.Delivered.Events), len(s.got); got > want {
				t.Errorf("in order: %d events count as delivered, a consumer got %d", got, want)
			}
		})
	}
}

// A sink without the right to describe the stream decides by the responses alone.
func TestEvidence_WithoutADescription(t *testing.T) {
	s := &movingStream{shards: 3, silent: true}
	s.change = func() { s.auto = true }
	s.ship(t, kinesis.Options{CheckKeys: time.Hour}, 10, nil)
	s.expectAll(t, "no description", 10)
}

// For a while the responses name other shards than the keys' own. Afterwards the stream uses keys again, and records
// are aggregated again.
func TestEvidence_WrongShardInAReply(t *testing.T) {
	s := &movingStream{shards: 3}
	before := 0 // aggregated records until the stream uses keys again
	s.change = func() {
		s.auto = true
		time.AfterFunc(50*time.Millisecond, func() { s.mu.Lock(); s.auto, before = false, s.joined; s.mu.Unlock() })
	}
	s.ship(t, kinesis.Options{ByShard: true, CheckKeys: 40 * time.Millisecond, Order: sink.OrderNone}, 60, nil)
	s.expectAll(t, "for a while", 60)
	if s.joined == before {
		t.Errorf("%d records were aggregated, none of them after the stream used keys again", s.joined)
	}
}
