package producer_test

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	bolt "go.etcd.io/bbolt"

	"github.com/standpipe/standpipe/wal/internal/producer"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

// replayed is a set whose commits are recorded as a segment does it: entries in a state, and a block of notes a commit.
type replayed struct {
	t      *testing.T
	set    *producer.Set
	db     *bolt.DB
	blocks [][]segment.Note // by number - 1
	times  []time.Time
	next   uint64
}

// commit writes put with a transaction.
func (r *replayed) commit(put func(state *segment.StateWriter) error) {
	r.t.Helper()
	err := r.db.Update(func(tx *bolt.Tx) error {
		bucket, err := tx.CreateBucketIfNotExists(segment.BucketState)
		if err != nil {
			return err
		}
		state := segment.NewStateWriter(bucket, true, nil)
		return put(&state)
	})
	if err != nil {
		r.t.Fatal(err)
	}
}

// store commits a batch, as the committer does. fails: the commit fails.
func (r *replayed) store(b *producer.Batch, fails bool) {
	var changes producer.Changes
	now := time.Unix(int64(len(r.blocks)), 0)
	r.set.Store(&changes, b, r.next, now, unlimited)
	if fails {
		r.set.Undo(changes)
		return
	}
	through := uint64(len(r.blocks)) + 1
	r.commit(func(state *segment.StateWriter) error { return r.set.Put(changes, state, through) })
	r.set.Stored(changes)
	r.blocks = append(r.blocks, []segment.Note{{Producer: b.Producer.ID, Sequence: b.Sequence, Next: b.Next, Events: b.Events, Offset: r.next}})
	r.times = append(r.times, now)
	r.next += b.Events
}

// load returns the set that an Open makes of the recorded commits.
func (r *replayed) load() *producer.Set {
	r.t.Helper()
	s := producer.NewSet(new(atomic.Int64), time.Hour, hclog.NewNullLogger())
	err := r.db.View(func(tx *bolt.Tx) error {
		return tx.Bucket(segment.BucketState).ForEach(func(k, v []byte) error {
			value, err := segment.StateValue(k, v, true)
			if err != nil {
				return err
			}
			_, names, _ := segment.SplitStateKey(k)
			return s.Load(producer.Key{ID: names[1], Stream: names[0]}, value)
		})
	})
	if err != nil {
		r.t.Fatal(err)
	}
	for i, notes := range r.blocks {
		for _, n := range notes {
			n.Producer = strings.Clone(n.Producer)
			s.Replay("s", &n, uint64(i)+1, r.times[i])
		}
	}
	return s
}

// A set that is loaded from entries and notes recognizes the same batches as the one that wrote them. Commits fail
// meanwhile, and entries are written anew, in the middle of a segment and at the beginning of another.
func TestReplay_GivesTheSameProducers(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	for round := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, round))
		db, err := bolt.Open(filepath.Join(t.TempDir(), "db"), 0o600, &bolt.Options{NoSync: true, NoGrowSync: true})
		if err != nil {
			t.Fatal(err)
		}
		l := &replayed{t: t, db: db, next: 1, set: producer.NewSet(new(atomic.Int64), time.Hour, hclog.NewNullLogger())}
		l.commit(func(*segment.StateWriter) error { return nil })
		sequences := make(map[producer.Key]uint64)
		for step := range 600 {
			key := producer.Key{ID: fmt.Sprint("p", r.IntN(4)), Stream: "s"}
			switch r.IntN(30) {
			case 0:
				l.commit(func(state *segment.StateWriter) error { return l.set.PutAll(state, uint64(len(l.blocks))) })
			case 1: // another segment begins
				l.blocks, l.times = nil, nil
				if err := l.db.Update(func(tx *bolt.Tx) error { return tx.DeleteBucket(segment.BucketState) }); err != nil {
					t.Fatal(err)
				}
				l.commit(func(state *segment.StateWriter) error { return l.set.PutAll(state, 0) })
			case 2: // the events of others
				l.next += uint64(r.IntN(3))
			case 3:
				l.set.AcceptLeaps()
				l.commit(func(state *segment.StateWriter) error { return l.set.PutAll(state, uint64(len(l.blocks))) })
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
				if l.store(b, fails); !fails {
					sequences[key] = b.Next - 1
				}
			}
			if step%20 == 0 {
				l.compare(l.load(), sequences)
				l.set = l.load() // a recognized batch has changed it
			}
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// compare checks that the set and a loaded one give the same results for batches around all sequences.
func (r *replayed) compare(loaded *producer.Set, sequences map[producer.Key]uint64) {
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
