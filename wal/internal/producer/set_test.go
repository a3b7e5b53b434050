package producer_test

import (
	"bytes"
	"errors"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/standpipe/standpipe/wal/internal/producer"
)

const unlimited = 1 << 30

func batch(key producer.Key, sequence, events uint64) *producer.Batch {
	return &producer.Batch{Producer: key, Sequence: sequence, Next: sequence + events, Events: events}
}

func store(s *producer.Set, key producer.Key, sequence, first, events uint64) producer.Changes {
	var changes producer.Changes
	s.Store(&changes, batch(key, sequence, events), first, time.Now(), unlimited)
	return changes
}

// A commit that fails leaves the set and its bytes as they were: the batch is stored when it is sent again.
func TestSet_UndoRestoresProducersAndBytes(t *testing.T) {
	var state atomic.Int64
	s := producer.NewSet(&state, time.Hour, hclog.NewNullLogger())
	known, fresh := producer.Key{ID: "known", Stream: "s"}, producer.Key{ID: "new", Stream: "s"}
	s.Stored(store(s, known, 1, 1, 3))
	before := state.Load()
	for _, key := range []producer.Key{known, fresh} {
		s.Undo(store(s, key, 4, 100, 5))
		if got := state.Load(); got != before {
			t.Errorf("%s: got %d bytes of state after Undo, want %d", key.ID, got, before)
		}
	}
	if s.Has(fresh) {
		t.Error("Undo keeps a new producer")
	}
	if at, stored, err := s.Recognize(batch(known, 2, 2)); at != 2 || !stored || err != nil {
		t.Errorf("got %d, %v, %v, want the offset 2 of a stored batch", at, stored, err)
	}
	if _, stored, err := s.Recognize(batch(known, 4, 5)); stored || err != nil {
		t.Errorf("got %v, %v, want the batch of the failed commit to be new", stored, err)
	}
	if _, _, err := s.Recognize(batch(known, 5, 1)); !errors.Is(err, producer.ErrSequence) {
		t.Errorf("got %v, want %v", err, producer.ErrSequence)
	}
}

// A producer is evicted after its idle time, and its bytes are free then.
func TestSet_EvictsIdleProducers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var state atomic.Int64
		s := producer.NewSet(&state, time.Hour, hclog.NewNullLogger())
		idle, active := producer.Key{ID: "idle", Stream: "s"}, producer.Key{ID: "active", Stream: "s"}
		store(s, idle, 1, 1, 1)
		store(s, active, 1, 2, 1)
		both := state.Load()
		time.Sleep(59 * time.Minute)
		if _, _, err := s.Recognize(batch(active, 1, 1)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if !s.EvictionDue() {
			t.Error("no search for idle producers is due after an hour")
		}
		keys, bytes := s.Evict(time.Now(), true)
		if len(keys) != 1 || keys[0] != idle || bytes == 0 || state.Load() != both-bytes {
			t.Errorf("got %v with %d bytes evicted and %d left of %d, want the idle producer", keys, bytes, state.Load(), both)
		}
		if s.EvictionDue() {
			t.Error("a search is due right after another")
		}
	})
}

// Of too many producers, those that have sent nothing for the longest time are evicted.
func TestSet_EvictsTheLongestSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var state atomic.Int64
		s := producer.NewSet(&state, time.Hour, hclog.NewNullLogger())
		key := func(i int) producer.Key { return producer.Key{ID: strconv.Itoa(i), Stream: "s"} }
		const silent = producer.Max + 5
		for i := range producer.Max + silent {
			if i == silent {
				time.Sleep(time.Minute)
			}
			store(s, key(i), 1, uint64(i+1), 1)
		}
		s.Evict(time.Now(), true)
		if s.Len() != producer.Max {
			t.Errorf("got %d producers, want %d", s.Len(), producer.Max)
		}
		for i := range producer.Max + silent {
			if s.Has(key(i)) != (i >= silent) {
				t.Fatalf("producer %d of %d, of which the first %d are silent: kept %v", i, producer.Max+silent, silent, s.Has(key(i)))
			}
		}
	})
}

// After a copy of the log, a gap is logged as missing events only if the producer numbers every event, and if the end of
// its stored sequences is known.
func TestSet_LogsMissingEventsOfACopy(t *testing.T) {
	for name, c := range map[string]struct {
		leaps, lost bool
		logged      bool
	}{"each event": {logged: true}, "with gaps": {leaps: true}, "end unknown": {lost: true}} {
		var said bytes.Buffer
		var state atomic.Int64
		s := producer.NewSet(&state, time.Hour, hclog.New(&hclog.LoggerOptions{Output: &said}))
		p := producer.Key{ID: "p", Stream: "s"}
		store(s, p, 1, 1, 3)
		s.AcceptLeaps()
		if c.lost {
			s.AcceptAny()
		}
		b := batch(p, 10, 2)
		b.Leaps = c.leaps
		if _, known, err := s.Recognize(b); known || err != nil {
			t.Fatalf("%s: got known %v, %v", name, known, err)
		}
		var changes producer.Changes
		s.Store(&changes, b, 4, time.Now(), 1<<20)
		if got := strings.Contains(said.String(), "first_sequence=4 events=6"); got != c.logged || !got && said.Len() > 0 {
			t.Errorf("%s: got the lines %q, want one: %v", name, said.String(), c.logged)
		}
	}
}
