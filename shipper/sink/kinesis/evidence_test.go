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
	"github.com/standpipe/standpipe/wal"
)

// movingStream is a Kinesis stream that changes under way. It keeps the events that a consumer with Amazon's library
// gets: the library discards an aggregated record whole when one of its keys lies outside the shard.
type movingStream struct {
	mu        sync.Mutex
	shards    int           // even parts of the hash keys
	auto      bool          // keys are ignored: shards take turns
	silent    bool          // and the stream may not be described
	change    func()        // with the next PutRecords, once; mu is held
	hold      time.Duration // before the reply to that
	puts      int
	described int
	got       map[string]int // by event
	singles   int            // records that are not aggregated
	astray    int            // records that no consumer takes
}

var space = new(big.Int).Lsh(big.NewInt(1), 128)

// bounds are those of part i of n.
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
		s.put(w, body)
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

// list names the open shards, and the two of the beginning once they are closed.
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

func (s *movingStream) put(w http.ResponseWriter, body []byte) {
	var req struct {
		Records []struct {
			Data         []byte
			PartitionKey string
		}
	}
	json.Unmarshal(body, &req)
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
	json.NewEncoder(w).Encode(map[string]any{"FailedRecordCount": 0, "Records": out})
}

func (s *movingStream) consume(shard int, key string, data []byte) {
	groups, aggregated, err := kpl.Decode(data)
	if err != nil {
		panic(err)
	}
	if !aggregated {
		s.singles++
		s.got[string(data)]++
		return
	}
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

// ship ships rounds of events of 40 keys while the stream changes, and returns the ledger at the end,
// or once enough is true.
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

// expectAll fails the test unless each event came through once.
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

// The new map may be known before the reply to a request that was made by the old one, or after it.
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

// A stream is switched to AUTO under way: the first reply that shows it stops the aggregated records, and those
// that no consumer takes apart are sent again, an event a record.
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

// A sink that may not describe the stream goes by the responses alone.
func TestEvidence_WithoutADescription(t *testing.T) {
	s := &movingStream{shards: 3, silent: true}
	s.change = func() { s.auto = true }
	s.ship(t, kinesis.Options{CheckKeys: time.Hour}, 10, nil)
	s.expectAll(t, "no description", 10)
}

// A reply that names a shard which is none, or another than the key's, while the stream goes by keys.
func TestEvidence_WrongShardInAReply(t *testing.T) {
	s := &movingStream{shards: 3}
	s.change = func() {
		s.auto = true
		time.AfterFunc(50*time.Millisecond, func() { s.mu.Lock(); s.auto = false; s.mu.Unlock() })
	}
	s.ship(t, kinesis.Options{ByShard: true, CheckKeys: 40 * time.Millisecond, Order: sink.OrderNone}, 20, nil)
	s.expectAll(t, "for a while", 20)
	if s.singles == s.puts {
		t.Error("records were never aggregated again")
	}
}
