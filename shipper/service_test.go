package shipper_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/kpl"
	"github.com/standpipe/standpipe/wal"
)

// service is a destination that checks limits, order, and that no key is in two requests at once. Payloads are "KEY N",
// N counting from 1 in its key.
type service struct {
	t      *testing.T
	shape  shipper.Shape
	faults func(r *rand.Rand, batch []shipper.Record) fault // nil: none
	rand   *rand.Rand
	delay  time.Duration

	mu        sync.Mutex
	seen      map[string]int  // the highest N of a key
	payloads  map[string]bool // stored payloads
	stored    map[string]bool // stored payloads, where order does not matter
	wrote     map[string]int  // how often a payload was stored, whether or not a consumer sees it
	total     int
	again     int
	gaps      bool // events may be dropped, so any later event of a key may be the next one
	gapped    bool // outages end with a gap (shipper.CatchUp)
	scattered bool // and the newest events of the backlog come first, in any order
	late      bool // an agent was killed, so an earlier event that it had dropped may arrive too
	requests  int
	wired     int // received bytes of bodies
	busy      map[string]bool
	decoded   map[*byte]contents // the records of the requests under way, by their first byte
	refused   map[string]bool    // poison payloads

	real, known *shipper.ShardMap // the real shards, and those that the shipper gets; nil: none
	reshard     func()            // changes real before a request is stored; nil: never

	// landing, when set, is called with each stored record; s.mu is held.
	landing func(r shipper.Record, keys map[string][]string)
	// twice, when set, is called with a payload that was stored before; s.mu is held.
	twice func(payload string)
	// kept, when set, is called with every stored payload, and whether the shipper gets a response for it.
	kept func(payload string, told bool)
}

// fault is the fault of one request.
type fault struct {
	err    *shipper.Error // the request fails
	stored bool           // although all records were stored
	failed map[int]*shipper.Error
	short  bool // all records are stored, but the response lacks a result
	hang   bool // no response until the request is cut off
}

func newService(t *testing.T, shape shipper.Shape) *service {
	return &service{t: t, shape: shape, rand: rand.New(rand.NewPCG(1, 2)), delay: 20 * time.Millisecond,
		seen: make(map[string]int), payloads: make(map[string]bool), wrote: make(map[string]int), stored: make(map[string]bool), busy: make(map[string]bool), decoded: make(map[*byte]contents), refused: make(map[string]bool)}
}

func (s *service) Shape() shipper.Shape { return s.shape }
func (s *service) Close() error         { return nil }

func (s *service) Shards() *shipper.ShardMap {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.known
}

func (s *service) Send(ctx context.Context, batch []shipper.Record) shipper.Response {
	f := s.begin(batch)
	answer := time.After(s.delay)
	if f.hang {
		answer = nil
	}
	select {
	case <-answer:
	case <-ctx.Done():
		f = fault{err: &shipper.Error{Class: shipper.Transient, Code: shipper.CodeTimeout, Record: -1}, stored: f.stored}
	}
	return s.end(batch, f)
}

func (s *service) begin(batch []shipper.Record) fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests++
	if len(batch) == 0 || len(batch) > s.shape.BatchRecords {
		s.t.Errorf("%d records in a batch, at most %d", len(batch), s.shape.BatchRecords)
	}
	size := 0
	here := make(map[string]bool) // keys of this batch
	for _, r := range batch {
		if len(r.Data) > s.shape.MaxRecord {
			s.t.Errorf("a record of %d bytes, at most %d", len(r.Data), s.shape.MaxRecord)
		}
		size += len(r.Data)
		if s.shape.KeyCounts {
			size += len(r.Key)
		}
		for key := range s.contents(r) {
			if s.busy[key] && !s.shape.WholeOrder && !((s.shape.AnyOrder || s.shape.KeyRuns) && here[key]) {
				s.t.Errorf("key %q is in two records under way", key)
			}
			s.busy[key], here[key] = true, true
		}
	}
	if size > s.shape.MaxBatch && len(batch) > 1 {
		s.t.Errorf("a batch of %d bytes, at most %d", size, s.shape.MaxBatch)
	}
	if s.faults == nil {
		return fault{}
	}
	return s.faults(s.rand, batch)
}

func (s *service) end(batch []shipper.Record, f fault) shipper.Response {
	s.mu.Lock()
	defer s.mu.Unlock()
	reply := shipper.Response{Results: make([]*shipper.Error, len(batch)), Code: "200"}
	if s.reshard != nil {
		s.reshard()
	}
	s.land(batch, &reply)
	behind := make(map[string]bool) // keys of which a record is not stored, where none may be stored behind it
	for i, r := range batch {
		poisoned := false
		for key, payloads := range s.contents(r) {
			delete(s.busy, key)
			for _, p := range payloads {
				poisoned = poisoned || s.refused[p]
			}
		}
		switch {
		case behind[r.Key]:
			reply.Results[i] = &shipper.Error{Class: shipper.Transient, Code: "not tried", Record: -1}
		case poisoned:
			reply.Results[i] = &shipper.Error{Class: shipper.Poison, Code: "Refused", Record: -1}
		case f.failed[i] != nil:
			reply.Results[i] = f.failed[i]
		case f.err == nil || f.stored:
			s.store(r, f.err == nil && !f.short)
		}
		behind[r.Key] = behind[r.Key] || s.shape.KeyRuns && reply.Results[i] != nil
		delete(s.decoded, &r.Data[0])
	}
	if f.err != nil && f.err.Code == "connection" {
		return shipper.Response{Err: f.err, Code: f.err.Code}
	}
	for _, r := range batch {
		reply.Sent += len(r.Data)*4/3 + len(r.Key) + 40
	}
	s.wired += reply.Sent
	switch {
	case f.err != nil:
		return shipper.Response{Err: f.err, Code: f.err.Code, Sent: reply.Sent}
	case f.short:
		reply.Results = reply.Results[1:]
	}
	return reply
}

// land sets the shards of the records in the response. If a record landed in another shard than the one in the known
// map, land makes the real map the known one.
func (s *service) land(batch []shipper.Record, reply *shipper.Response) {
	if s.real == nil || !s.shape.ByShard {
		return
	}
	before := s.known
	reply.Shards = s.real
	for _, r := range batch {
		id := s.shardOf(r.Key)
		reply.Landed = append(reply.Landed, id)
		if before != nil && before.Shard(before.Find(r.Key)).ID != id {
			s.known = s.real
		}
	}
}

func (s *service) shardOf(key string) string { return s.real.Shard(s.real.Find(key)).ID }

// discarded reports whether Amazon's consumer library silently discards a record of these keys, because one of them
// lies outside the shard of the record.
func (s *service) discarded(r shipper.Record, keys map[string][]string) bool {
	for key := range keys {
		if s.real != nil && s.shardOf(key) != s.shardOf(r.Key) {
			return true
		}
	}
	return false
}

// store stores a record; told reports whether the shipper gets a response for it.
func (s *service) store(r shipper.Record, told bool) {
	keys := s.contents(r)
	discarded := s.discarded(r, keys)
	if s.landing != nil {
		s.landing(r, keys)
	}
	for key, payloads := range keys {
		for _, p := range payloads {
			s.wrote[p]++
		}
		if discarded {
			continue
		}
		for _, p := range payloads {
			var n int
			if _, err := fmt.Sscanf(p, key+" %d", &n); err != nil {
				s.t.Errorf("payload %q under key %q", p, key)
			}
			before := s.payloads[p]
			s.payloads[p] = true
			if s.kept != nil {
				defer s.kept(p, told)
			}
			if s.gapped && !s.shape.WholeOrder && !s.shape.AnyOrder {
				s.storeGapped(key, n, before)
				continue
			}
			if s.shape.AnyOrder {
				s.storeAny(p)
				continue
			}
			next := s.seen[key] + 1
			for s.refused[fmt.Sprintf("%s %d", key, next)] {
				next++
			}
			switch {
			case n == next || s.gaps && n > next:
				s.seen[key] = n
				s.total++
			case s.late && !before:
				s.total++
			case n < next:
				s.repeated(p)
			default:
				s.t.Errorf("key %q: got event %d, want %d", key, n, next)
			}
		}
	}
}

// storeGapped stores event n of a key, in an order with gaps: it is the first after a gap, or it follows an event that is
// stored or has a dead letter.
func (s *service) storeGapped(key string, n int, before bool) {
	p := fmt.Sprintf("%s %d", key, n)
	if before {
		s.repeated(p)
		return
	}
	s.total++
	last := fmt.Sprintf("%s %d", key, n-1)
	if n > 1 && n < s.seen[key] && !s.payloads[last] && !s.refused[last] && !s.gaps && !s.scattered {
		s.t.Errorf("key %q: got event %d before event %d", key, n, n-1)
	}
	s.seen[key] = max(s.seen[key], n)
}

// storeAny stores a payload where order does not matter.
func (s *service) storeAny(p string) {
	if s.stored[p] {
		s.repeated(p)
		return
	}
	s.stored[p] = true
	s.total++
}

func (s *service) repeated(p string) {
	s.again++
	if s.twice != nil {
		s.twice(p)
	}
}

// contents are a record of a request under way.
type contents struct {
	keys map[string][]string
	sum  uint32
}

// contents returns keysOf a record of a request under way; s.mu is held. The record is decoded once. Its bytes must stay
// the same until the request ends.
func (s *service) contents(r shipper.Record) map[string][]string {
	at, sum := &r.Data[0], crc32.ChecksumIEEE(r.Data)
	c, decoded := s.decoded[at]
	if !decoded {
		c = contents{keysOf(s.t, s.shape, r), sum}
		s.decoded[at] = c
	}
	if c.sum != sum {
		s.t.Errorf("a record of key %q has changed since its request began", r.Key)
	}
	return c.keys
}

// keysOf decodes a record and returns the payloads of each key.
func keysOf(t *testing.T, shape shipper.Shape, r shipper.Record) map[string][]string {
	data := plain(t, shape.Compression, r.Data)
	payloads := [][]byte{data}
	switch shape.Framing {
	case shipper.FramingKPL:
		groups, aggregated, err := kpl.Decode(data)
		switch {
		case err != nil:
			t.Error(err)
		case shape.ByShard && aggregated:
			return keysOfGroups(t, groups, r)
		case aggregated && (len(groups) != 1 || groups[0].Key != r.Key):
			t.Errorf("a record of key %q holds the groups %v", r.Key, groups)
		case aggregated:
			payloads = groups[0].Payloads
		}
	case shipper.FramingLines:
		payloads = bytes.Split(bytes.TrimSuffix(data, []byte("\n")), []byte("\n"))
	}
	if shape.Envelope != nil {
		payloads = unwrapped(t, payloads)
	}
	keys := make(map[string][]string)
	for _, p := range payloads {
		key, _, _ := bytes.Cut(p, []byte(" "))
		keys[string(key)] = append(keys[string(key)], payloadOf(p))
	}
	if shape.OneKey && (len(keys) != 1 || keys[r.Key] == nil) {
		t.Errorf("a record of key %q holds keys %v", r.Key, keys)
	}
	if shape.RecordEvents > 0 && len(payloads) > shape.RecordEvents {
		t.Errorf("%d events in a record, at most %d", len(payloads), shape.RecordEvents)
	}
	if len(payloads) != r.Events {
		t.Errorf("a record says %d events, has %d", r.Events, len(payloads))
	}
	return keys
}

// payloadOf returns the part of an event that identifies it, without the padding.
func payloadOf(data []byte) string {
	fields := bytes.SplitN(data, []byte(" "), 3)
	return string(bytes.Join(fields[:min(len(fields), 2)], []byte(" ")))
}

// unwrapped returns the text events in the given envelopes, and checks that their IDs differ.
func unwrapped(t *testing.T, lines [][]byte) (payloads [][]byte) {
	ids := make(map[string]bool)
	for _, line := range lines {
		var o struct{ ID, Key, Data string }
		if err := json.Unmarshal(line, &o); err != nil || ids[o.ID] || !strings.HasPrefix(o.Data, o.Key+" ") {
			t.Errorf("%q: %v", line, err)
		}
		ids[o.ID] = true
		payloads = append(payloads, []byte(o.Data))
	}
	return payloads
}

// compressedShape returns the shape of a Firehose stream that writes compressed records to S3.
func compressedShape(c shipper.Compression) shipper.Shape {
	s := firehoseShape()
	s.Compression, s.RecordEvents = c, 0
	return s
}

// envelopeShape returns s with an envelope around each event.
func envelopeShape(s shipper.Shape) shipper.Shape {
	s.Envelope = &shipper.Envelope{Log: "01J", Stream: "s", Format: shipper.EnvelopeText}
	return s
}

// keysOfGroups does the work of keysOf for a record of several keys.
func keysOfGroups(t *testing.T, groups []kpl.Group, r shipper.Record) map[string][]string {
	keys, events := make(map[string][]string), 0
	for _, g := range groups {
		if keys[g.Key] != nil {
			t.Errorf("key %q is in a record twice", g.Key)
		}
		for _, p := range g.Payloads {
			keys[g.Key] = append(keys[g.Key], payloadOf(p))
			events++
		}
	}
	if keys[r.Key] == nil || events != r.Events {
		t.Errorf("a record of key %q and %d events holds %d of keys %v", r.Key, r.Events, events, keys)
	}
	return keys
}

// byShardShape returns kinesisShape, but with records of all keys of a shard.
func byShardShape() shipper.Shape {
	s := kinesisShape()
	s.ByShard = true
	return s
}

func kinesisShape() shipper.Shape {
	return shipper.Shape{Framing: shipper.FramingKPL, OneKey: true, MaxRecord: 4096, KeyCounts: true, AimRecord: 2048,
		BatchRecords: 10, MaxBatch: 16 << 10, AimBatch: 12 << 10, BilledStep: 1024, UnitStep: 25 << 10}
}

func firehoseShape() shipper.Shape {
	return shipper.Shape{Framing: shipper.FramingLines, MaxRecord: 4096, AimRecord: 2048, RecordEvents: 20,
		BatchRecords: 10, MaxBatch: 16 << 10, AimBatch: 12 << 10, BilledStep: 5120}
}

// oneKeyShape returns the shape of a Firehose stream that is partitioned by the key.
func oneKeyShape() shipper.Shape {
	s := firehoseShape()
	s.OneKey = true
	return s
}

// anyLines returns the shape of a Firehose stream where order does not matter.
func anyLines() shipper.Shape {
	s := firehoseShape()
	s.AnyOrder = true
	return s
}

func fileShape() shipper.Shape {
	return shipper.Shape{Framing: shipper.FramingLines, WholeOrder: true, MaxRecord: 1 << 20, AimRecord: 8 << 10,
		BatchRecords: 100, MaxBatch: 64 << 10, BilledStep: 1}
}

// wideFile returns fileShape with one record a batch, also in envelopes: a file stores a whole batch or nothing.
func wideFile() shipper.Shape {
	s := fileShape()
	s.AimRecord = s.MaxBatch
	return s
}

func singleShape() shipper.Shape {
	s := kinesisShape()
	s.Framing, s.RecordEvents = shipper.FramingNone, 1
	return s
}

// strictShape returns the shape of a service that accepts one record a request.
func strictShape() shipper.Shape {
	s := kinesisShape()
	s.BatchRecords, s.InFlight = 1, 64
	return s
}

// runsShape returns the shape of a service that keeps the order of a key's records in a batch.
func runsShape() shipper.Shape {
	s := singleShape()
	s.KeyRuns, s.BatchRecords = true, 30
	return s
}

// anyShape returns the shape of a service whose events may arrive in any order, one event a record.
func anyShape() shipper.Shape {
	s := singleShape()
	s.AnyOrder = true
	return s
}

// appender is the part of a log that producers use.
type appender interface {
	Append(ctx context.Context, b *wal.Batch) (wal.Appended, error)
}

// source appends events to a log, and counts N in each key.
type source struct {
	t   *testing.T
	log appender
	n   map[string]int
	all int
	at  int64 // the time of the events; 0: 1

	noise *rand.Rand // of a third of long events; nil: none
}

func (s *source) send(key string, count int) {
	s.t.Helper()
	s.append(key, count, 0)
}

// append appends count events of a key, each with size bytes of padding after the identifying part.
func (s *source) append(key string, count, size int) {
	s.t.Helper()
	b := &wal.Batch{Stream: "s"}
	for range count {
		s.n[key]++
		s.all++
		b.Events = append(b.Events, wal.Event{Key: key, Data: fmt.Appendf(nil, "%s %d", key, s.n[key]), Time: max(s.at, 1)})
		if e := &b.Events[len(b.Events)-1]; size > 0 {
			e.Data = append(e.Data, " "+strings.Repeat(".", size)...)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	if _, err := s.log.Append(ctx, b); err != nil {
		s.t.Fatal(err)
	}
}

// sendLong appends count events of the given size; their keys take turns.
func (s *source) sendLong(count, bytes, keys int) {
	s.t.Helper()
	b := &wal.Batch{Stream: "s"}
	for range count {
		key := fmt.Sprint("k", s.all%keys)
		s.n[key]++
		s.all++
		data := fmt.Appendf(nil, "%s %d ", key, s.n[key])
		for s.noise != nil && len(data) < bytes/3 {
			data = append(data, byte('A'+s.noise.IntN(26)))
		}
		data = append(data, make([]byte, max(bytes-len(data), 0))...)
		b.Events = append(b.Events, wal.Event{Key: key, Data: data, Time: 1})
	}
	if _, err := s.log.Append(context.Background(), b); err != nil {
		s.t.Fatal(err)
	}
}

// sent returns the number of appended events of a key.
func (s *source) sent(key string) int { return s.n[key] }

func openLog(t *testing.T, dir string) *wal.Log {
	t.Helper()
	return openLogAs(t, dir, wal.Options{})
}

// openLogAs opens the log in dir with small segments.
func openLogAs(t *testing.T, dir string, o wal.Options) *wal.Log {
	t.Helper()
	o.Dir, o.SegmentSize = dir, 64<<10
	l, err := wal.Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}
