package wal_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	goSync "sync"
	"testing"

	bolt "go.etcd.io/bbolt"

	"github.com/standpipe/standpipe/test/draw"
	"github.com/standpipe/standpipe/wal"
)

// carried is the log of TestProducer_IsKnownInEveryStepOfACarry.
type carried struct {
	t   *testing.T
	log *wal.Log

	mu        goSync.Mutex
	acked     map[string]modelBatch // the last batch of each producer
	images    []carriedImage
	continued int // how many images have a segment that lacks producers
	rolled    bool
}

// carriedImage is the directory after a commit, with the batches that were acked before.
type carriedImage struct {
	dir   string
	acked map[string]modelBatch
}

// longID is the ID of a producer whose entry is long: 64 KiB are the entries of about forty of them.
func longID(i int) string { return fmt.Sprint(strings.Repeat("p", 990), i) }

func (c *carried) send(i int, sequence uint64, size int) {
	c.t.Helper()
	b := &wal.Batch{Stream: "s", ProducerID: longID(i), ProducerSequence: sequence, Events: []wal.Event{event("k", strings.Repeat("x", size))}}
	got, err := c.log.Append(bg, b)
	must(c.t, err)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.acked[b.ProducerID] = modelBatch{sequence, got.First, 1}
}

// note makes an image after a commit, once segments have rolled.
func (c *carried) note() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.rolled {
		return nil
	}
	c.log.AwaitTruncation() // unlinks the settled segments that are not needed
	image := carriedImage{dir: c.t.TempDir(), acked: maps.Clone(c.acked)}
	copyDir(c.t, image.dir, filepath.Dir(c.log.Dir()))
	if newestContinued(c.t, image.dir) {
		c.continued++
		c.images = append(c.images, image)
	} else if len(c.images) < 2*c.continued {
		c.images = append(c.images, image)
	}
	return nil
}

// newestContinued reports whether the newest segment that has begun lacks producers.
func newestContinued(t *testing.T, dir string) (continued bool) {
	t.Helper()
	files := segmentFiles(t, dir)
	for i, begun := len(files)-1, false; i >= 0 && !begun; i-- {
		db, err := bolt.Open(files[i], 0o600, &bolt.Options{ReadOnly: true})
		must(t, err)
		must(t, db.View(func(tx *bolt.Tx) error {
			if state := tx.Bucket([]byte("state")); state != nil {
				begun, continued = true, state.Get([]byte("c\x09producers")) != nil
			}
			return nil
		}))
		must(t, db.Close())
	}
	return continued
}

// check opens the image twice and sends the last batches again. In between it sends more, so that another segment begins.
func (i *carriedImage) check(t *testing.T, o wal.Options) {
	t.Helper()
	o.Dir = i.dir
	for again := range 2 {
		l := open(t, o)
		more := 40
		for id, last := range i.acked {
			b := &wal.Batch{Stream: "s", ProducerID: id, ProducerSequence: last.sequence, Events: []wal.Event{event("k", "")}}
			got, err := l.Append(bg, b)
			if want := (wal.Appended{First: last.first, Count: 1, Duplicate: true}); err != nil || got != want {
				t.Fatalf("opening %d: %d sent again by a producer: got %+v, %v, want %+v", again+1, last.sequence, got, err, want)
			}
			if again == 1 {
				b.ProducerSequence += 3 // one batch more may have been stored and not acked
				if _, err := l.Append(bg, b); !errors.Is(err, wal.ErrSequence) {
					t.Fatalf("%d after %d: got %v, want %v", b.ProducerSequence, last.sequence, err, wal.ErrSequence)
				}
			} else if more > 0 {
				more--
				b.ProducerSequence++
				b.Events = []wal.Event{event("k", strings.Repeat("x", 5000))}
				if got, err = l.Append(bg, b); err == nil && !got.Duplicate { // else it was stored, and not acked before the image
					i.acked[id] = modelBatch{b.ProducerSequence, got.First, 1}
				}
				must(t, err)
			}
		}
		p, err := l.OpenCursor("s", "d")
		must(t, err)
		settleAll(l, p, p.Stat().Pending)
		sync(t, l)
		must(t, l.Close())
	}
	wantSound(t, i.dir)
}

// Many producers are carried into a new segment in several commits. After each of them, a kill leaves a log that
// recognizes the last batch of every producer, although the segments before are settled.
func TestProducer_IsKnownInEveryStepOfACarry(t *testing.T) {
	seed := draw.Seed(t)
	r := rand.New(rand.NewPCG(seed, 1))
	const producers = 300
	c := &carried{t: t, acked: make(map[string]modelBatch)}
	plain := wal.Options{Dir: t.TempDir(), SegmentSize: 256 << 10, MaxSize: 64 << 20}
	c.log = open(t, plain.WithFaults(nil, func() error { return c.note() }))
	p, err := c.log.OpenCursor("s", "d")
	must(t, err)
	next := make([]uint64, producers)
	for i := range producers * 4 {
		who := i
		if who >= producers {
			who = r.IntN(producers)
		}
		c.mu.Lock()
		c.rolled = c.log.Stat().Segments > 1 && len(c.images) < 24
		c.mu.Unlock()
		next[who]++
		c.send(who, next[who], []int{10, 1000, 5000, 200_000}[r.IntN(4)])
		settleAll(c.log, p, p.Stat().Pending)
		if r.IntN(4) == 0 {
			sync(t, c.log)
		}
	}
	must(t, c.log.Close())
	if c.continued < 8 {
		t.Errorf("got %d of %d images of a carry, want more", c.continued, len(c.images))
	}
	for i := range c.images {
		c.images[i].check(t, plain)
		must(t, os.RemoveAll(c.images[i].dir))
	}
}

// A log that becomes full in the middle of a carry recognizes the last batch of every producer, also after a kill, and takes
// events again once they are settled.
func TestProducer_IsKnownInALogThatFillsUpDuringACarry(t *testing.T) {
	seed := draw.Seed(t)
	r := rand.New(rand.NewPCG(seed, 1))
	const producers = 250
	o := wal.Options{Dir: t.TempDir(), SegmentSize: 256 << 10, MaxSize: 32 << 20}
	var l *wal.Log
	lowered := make(chan struct{})
	fills := func() error {
		select {
		case <-lowered:
			return nil
		default:
		}
		image := t.TempDir()
		if copyDir(t, image, o.Dir); l.Stat().Bytes > 4<<20 && newestContinued(t, image) {
			l.SetLimits(wal.Limits{MaxSize: 3 << 20})
			close(lowered)
		}
		return os.RemoveAll(image)
	}
	l = open(t, o.WithFaults(nil, func() error { return fills() }))
	p, err := l.OpenCursor("s", "d")
	must(t, err)
	acked := make(map[string]modelBatch)
	next := make([]uint64, producers)
	send := func(i int, size int) error {
		b := &wal.Batch{Stream: "s", ProducerID: longID(i), ProducerSequence: next[i] + 1, Events: []wal.Event{event("k", strings.Repeat("x", size))}}
		got, err := l.Append(bg, b)
		if err == nil {
			next[i]++
			acked[b.ProducerID] = modelBatch{next[i], got.First, 1}
		}
		return err
	}
	for i := 0; err == nil; i++ {
		who := i
		if i >= producers {
			who = r.IntN(producers)
		}
		err = send(who, 1+r.IntN(30_000))
	}
	if !errors.Is(err, wal.ErrFull) {
		t.Fatalf("got %v, want %v", err, wal.ErrFull)
	}
	select {
	case <-lowered:
	default:
		t.Fatal("the log was full before a carry")
	}
	killed := o
	killed.Dir = copyInstant(t, o.Dir)
	again := open(t, killed)
	wantKnown(t, again, acked)
	must(t, again.Close())
	wantKnown(t, l, acked)
	for tries := 0; err != nil; tries++ {
		settleAll(l, p, p.Stat().Pending)
		sync(t, l)
		if err = send(r.IntN(producers), 10); tries == 100 {
			t.Fatalf("got %v after all events were settled", err)
		}
	}
	wantKnown(t, l, acked)
	must(t, l.Close())
	if newestContinued(t, o.Dir) {
		t.Error("the newest segment lacks producers")
	}
	wantSound(t, o.Dir)
}

// wantKnown sends the last batches of all producers again.
func wantKnown(t *testing.T, l *wal.Log, acked map[string]modelBatch) {
	t.Helper()
	for id, last := range acked {
		got, err := l.Append(bg, &wal.Batch{Stream: "s", ProducerID: id, ProducerSequence: last.sequence, Events: []wal.Event{event("k", "")}})
		if want := (wal.Appended{First: last.first, Count: 1, Duplicate: true}); err != nil || got != want {
			t.Fatalf("%d sent again by a producer: got %+v, %v, want %+v", last.sequence, got, err, want)
		}
	}
}
