package producer_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	bolt "go.etcd.io/bbolt"

	"github.com/standpipe/standpipe/test/draw"
	"github.com/standpipe/standpipe/wal/internal/producer"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

// recorded is a set whose commits are recorded as a log does it: in each segment entries, and a block with a note a
// commit. The segment before the newest counts while the newest lacks entries.
type recorded struct {
	t         *testing.T
	set       *producer.Set
	db        *bolt.DB
	seq       uint64 // of the newest segment
	continued bool
	fresh     bool // the newest segment has not begun
	blocks    map[uint64][]noted
	next      uint64
}

// noted is a block.
type noted struct {
	note segment.Note
	at   time.Time
}

func newRecorded(t *testing.T) *recorded {
	db, err := bolt.Open(filepath.Join(t.TempDir(), "db"), 0o600, &bolt.Options{NoSync: true, NoGrowSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	r := &recorded{t: t, db: db, next: 1, seq: 1, blocks: make(map[uint64][]noted)}
	r.set = newSet()
	r.set.Opened(1, true)
	return r
}

func newSet() *producer.Set {
	return producer.NewSet(new(atomic.Int64), time.Hour, hclog.NewNullLogger())
}

var errFails = errors.New("the commit fails")

// commit writes into the newest segment. It begins the segment if need be, and carries entries over. fails: nothing of it
// is stored.
func (r *recorded) commit(carry int64, fails bool, put func(state *segment.StateWriter) error) {
	r.t.Helper()
	continued := r.continued
	if r.fresh {
		r.set.Begin(r.seq)
	}
	err := r.db.Update(func(tx *bolt.Tx) error {
		bucket, err := tx.CreateBucketIfNotExists(segment.NumberKey(r.seq))
		if err != nil {
			return err
		}
		state := segment.NewStateWriter(bucket, true, nil)
		if err := put(&state); err != nil {
			return err
		}
		if !r.fresh && !r.continued {
			if fails {
				return errFails
			}
			return nil
		}
		done, err := r.set.Carry(&state, carry, uint64(len(r.blocks[r.seq])))
		if continued = !done; fails {
			return errFails
		}
		return err
	})
	switch {
	case fails:
	case err != nil:
		r.t.Fatal(err)
	default:
		r.fresh, r.continued = false, continued
	}
}

// store commits a batch, as the committer does. fails: the commit fails.
func (r *recorded) store(b *producer.Batch, carry int64, fails bool) {
	var changes producer.Changes
	now := time.Unix(int64(r.next), 0)
	r.set.Store(&changes, b, r.next, now, unlimited)
	if fails {
		r.commit(carry, true, func(state *segment.StateWriter) error {
			return r.set.Put(changes, state, uint64(len(r.blocks[r.seq])+1))
		})
		r.set.Undo(changes)
		return
	}
	r.blocks[r.seq] = append(r.blocks[r.seq], noted{
		segment.Note{Producer: b.Producer.ID, Sequence: b.Sequence, Next: b.Next, Events: b.Events, Offset: r.next}, now,
	})
	through := uint64(len(r.blocks[r.seq]))
	r.commit(carry, false, func(state *segment.StateWriter) error { return r.set.Put(changes, state, through) })
	r.set.Stored(changes)
	if left := r.set.Left(); left > 0 && !r.continued {
		r.t.Fatalf("got %d bytes left, and the segment is not continued", left)
	}
	r.next += b.Events
}

// load returns the set that an Open makes of the recorded commits.
func (r *recorded) load() *producer.Set {
	r.t.Helper()
	s := newSet()
	if first := r.seq - 1; r.fresh {
		r.loadSegment(s, first)
	} else {
		if r.continued {
			r.loadSegment(s, first)
		}
		r.loadSegment(s, r.seq)
	}
	s.Count()
	s.Opened(r.seq, false)
	if r.fresh { // Open begins the segment that was made ready
		s.Begin(r.seq)
	}
	return s
}

func (r *recorded) loadSegment(s *producer.Set, seq uint64) {
	r.t.Helper()
	err := r.db.View(func(tx *bolt.Tx) error {
		bucket := tx.Bucket(segment.NumberKey(seq))
		if bucket == nil {
			return nil
		}
		return bucket.ForEach(func(k, v []byte) error {
			value, err := segment.StateValue(k, v, true)
			if err != nil {
				return err
			}
			_, names, _ := segment.SplitStateKey(k)
			return s.Load(seq, producer.Key{ID: names[1], Stream: names[0]}, value)
		})
	})
	if err != nil {
		r.t.Fatal(err)
	}
	for i, b := range r.blocks[seq] {
		s.Replay(seq, "s", &b.note, uint64(i)+1, b.at)
	}
}

// A set that is loaded from entries and notes recognizes the same batches as the one that wrote them. Commits fail
// meanwhile, and segments begin without the entries. The next commits carry those over, one by one or many at once.
func TestReplay_GivesTheSameProducers(t *testing.T) {
	seed := draw.Seed(t)
	for round := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, round))
		l := newRecorded(t)
		sequences := make(map[producer.Key]uint64)
		carry := []int64{1, 500, unlimited}[round%3]
		for step := range 400 {
			key := producer.Key{ID: fmt.Sprint("p", r.IntN(12)), Stream: "s"}
			switch r.IntN(30) {
			case 0:
				l.commit(carry, false, func(state *segment.StateWriter) error { return l.set.PutAll(state, uint64(len(l.blocks[l.seq]))) })
				l.set.Stored(nil)
			case 1:
				if !l.continued && !l.fresh {
					l.seq++
					l.fresh = true
				}
			case 2: // the events of others
				l.next += uint64(r.IntN(3))
			case 3:
				l.set.AcceptLeaps()
				l.commit(carry, false, func(state *segment.StateWriter) error { return l.set.PutAll(state, uint64(len(l.blocks[l.seq]))) })
				l.set.Stored(nil)
			case 4:
				l.set = l.load()
			default:
				b := batch(key, sequences[key]+1, 1+r.Uint64N(3))
				if r.IntN(8) == 0 {
					b.Leaps, b.Next = true, b.Next+r.Uint64N(5)
				}
				if _, known, err := l.set.Recognize(b); known || err != nil {
					t.Fatalf("round %d, step %d: got %v, %v of a new batch", round, step, known, err)
				}
				fails := r.IntN(6) == 0
				if l.store(b, carry, fails); !fails {
					sequences[key] = b.Next - 1
				}
			}
			if step%20 == 0 {
				l.compare(l.load(), sequences)
				l.set = l.load() // a recognized batch has changed it
			}
		}
	}
}

// compare checks that the set and a loaded one give the same results for batches around all sequences.
func (r *recorded) compare(loaded *producer.Set, sequences map[producer.Key]uint64) {
	r.t.Helper()
	if loaded.Len() != r.set.Len() {
		r.t.Fatalf("got %d producers, want %d", loaded.Len(), r.set.Len())
	}
	for key, last := range sequences {
		for sequence := uint64(1); sequence < last+3; sequence++ {
			b := batch(key, sequence, 2)
			at, known, err := loaded.Recognize(b)
			wantAt, wantKnown, wantErr := r.set.Recognize(b)
			if at != wantAt || known != wantKnown || (err == nil) != (wantErr == nil) {
				r.t.Fatalf("%s, sequence %d of %d: got %d, %v, %v, want %d, %v, %v", key.ID, sequence, last, at, known, err, wantAt, wantKnown, wantErr)
			}
		}
	}
}

// Each commit carries over some producers, until the new segment has them all.
func TestCarry_ReachesEveryProducer(t *testing.T) {
	seed := draw.Seed(t)
	r := rand.New(rand.NewPCG(seed, 1))
	l := newRecorded(t)
	key := func(i int) producer.Key { return producer.Key{ID: fmt.Sprint(i), Stream: "s"} }
	for i := range 300 {
		l.store(batch(key(i), 1, 1), 1, false)
	}
	l.seq, l.fresh = l.seq+1, true
	commits := 0
	for i := 300; l.fresh || l.continued; i++ {
		l.store(batch(key(i), 1, 1), 500+r.Int64N(1000), r.IntN(5) == 0)
		if l.set.Has(key(i)) {
			commits++
		}
	}
	left := l.set.Left()
	loaded := newSet()
	l.loadSegment(loaded, l.seq)
	if left != 0 || loaded.Len() != l.set.Len() || commits < 10 {
		t.Errorf("got %d bytes left, and %d of %d producers in the segment after %d commits", left, loaded.Len(), l.set.Len(), commits)
	}
}
