package wal_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/standpipe/standpipe/wal"
	"github.com/standpipe/standpipe/wal/deadletter"
)

// sized returns a dead letter of about n bytes.
func sized(n int) deadletter.Letter {
	return deadletter.Letter{Stream: "s", Destination: "d", Event: wal.Event{Key: "k", Data: make([]byte, n), Time: 1, Offset: 1}, Reason: "refused"}
}

func deadLength(t *testing.T, dir string) int64 {
	t.Helper()
	return fileLength(t, filepath.Join(dir, "dead.db"))
}

func letterIDs(t *testing.T, d *deadletter.Queue) (ids []uint64) {
	t.Helper()
	letters, err := d.List(t.Context(), deadletter.Query{})
	must(t, err)
	for _, l := range letters {
		ids = append(ids, l.ID)
	}
	return ids
}

// putUntilFull stores letters of less than most bytes until they are full, and returns how many it stored.
func putUntilFull(t *testing.T, d *deadletter.Queue, random *rand.Rand, most int) (n int) {
	t.Helper()
	for ; n < 1_000_000; n++ {
		err := d.Put(sized(random.IntN(most)))
		var full *deadletter.FullError
		if errors.As(err, &full) && full.Max > 0 && full.Letter > 0 {
			return n
		}
		must(t, err)
	}
	t.Fatal("the dead letters do not fill")
	return 0
}

// wantUnderMax checks that segments and dead letters together stay under MaxSize, and dead letters under their bound.
func wantUnderMax(t *testing.T, l *wal.Log, dir string) {
	t.Helper()
	st, length := l.Stat(), deadLength(t, dir)
	if got := occupied(t, l) + length; got > st.MaxBytes || length > st.MaxDeadBytes || st.DeadBytes < length {
		t.Errorf("got %d bytes of segments and letters, of which %d of letters, stat %+v", got, length, st)
	}
}

// Dead letters can come at any time: before the log fills, while it is full, and after that.
func TestDeadLetters_AreWithinMaxSize(t *testing.T) {
	for seed := range uint64(12) {
		random := rand.New(rand.NewPCG(seed, 7))
		size := int64(wal.MinMaxSize) << random.IntN(5)
		if seed == 0 {
			size = wal.MinMaxSize
		}
		t.Run(fmt.Sprintf("seed=%d/max=%d", seed, size), func(t *testing.T) {
			o := wal.Options{Dir: t.TempDir(), MaxSize: size}
			if seed >= 4 { // each letter is a sync: the disk shows what memory does not with a few logs too
				o.Dir = memoryDir(t)
			}
			l := open(t, o)
			p, err := l.OpenCursor("s", "d")
			must(t, err)
			d := l.OpenDeadLetters(nil)
			defer d.Close()
			most := int(size)/1024 + random.IntN(int(size)/512)
			stored := wal.Count{}
			for range random.IntN(3) {
				stored.Add(fill(t, l, "s", 100+random.IntN(2000), 10))
			}
			if letters := putUntilFull(t, d, random, most); letters < 3 {
				t.Errorf("got %d letters of up to %d bytes, want more", letters, most)
			}
			stored.Add(fill(t, l, "s", 100+random.IntN(2000), 10))
			wantUnderMax(t, l, o.Dir)
			settleAll(l, p, stored)
			sync(t, l)
			putUntilFull(t, d, random, most)
			if got := l.Stat(); got.DeadBytes < got.MaxDeadBytes/2 {
				t.Errorf("got %+v, want the letters to have grown with the room", got)
			}
			if more := fill(t, l, "s", 1000, 10); more.Bytes < uint64(size)/8 {
				t.Errorf("got %d bytes stored beside dead letters at their bound, of %d", more.Bytes, size)
			}
			wantUnderMax(t, l, o.Dir)
			must(t, d.Close())
			must(t, l.Close())
			l = open(t, o)
			if got, length := l.Stat().DeadBytes, deadLength(t, o.Dir); got != length {
				t.Errorf("got %d bytes counted after a restart, want %d", got, length)
			}
		})
	}
}

// A log whose dead letters are at their bound accepts the largest possible append once its events are settled.
func TestDeadLetters_AtTheirBoundLeaveRoomForTheLargestAppend(t *testing.T) {
	for _, size := range []int64{wal.MinMaxSize, 3 << 20, 16 << 20} {
		o := wal.Options{Dir: t.TempDir(), MaxSize: size}
		l := open(t, o)
		p, err := l.OpenCursor("s", "d")
		must(t, err)
		d := l.OpenDeadLetters(nil)
		putUntilFull(t, d, rand.New(rand.NewPCG(1, uint64(size))), int(size/256))
		largest := string(make([]byte, size*3/5-160<<10))
		for range 3 {
			r, err := l.Append(t.Context(), &wal.Batch{Stream: "s", Events: []wal.Event{event("k", largest)}})
			if err != nil {
				t.Fatalf("max %d: got %v, want it stored", size, err)
			}
			settleAll(l, p, wal.Count{Events: r.First, Bytes: r.First * uint64(len(largest))})
			sync(t, l)
		}
		must(t, d.Close())
	}
}

func TestDeadLetters_GoOnWhenSomeAreDropped(t *testing.T) {
	o := wal.Options{Dir: t.TempDir(), MaxSize: 4 << 20}
	l := open(t, o)
	d := l.OpenDeadLetters(nil)
	defer d.Close()
	random := rand.New(rand.NewPCG(3, 3))
	last := uint64(putUntilFull(t, d, random, 3000))
	for range 8 {
		ids := letterIDs(t, d)
		random.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
		_, err := d.Drop(ids[:len(ids)*3/4]...)
		must(t, err)
		n := putUntilFull(t, d, random, 3000)
		if n < len(ids)/4 {
			t.Errorf("got room for %d letters when %d were dropped", n, len(ids)*3/4)
		}
		last += uint64(n)
		wantUnderMax(t, l, o.Dir)
		if got, err := d.LastID(); err != nil || got != last {
			t.Fatalf("got last id %d, %v, want %d: no id is given twice", got, err, last)
		}
	}
}

// An older release left more dead letters than the bound allows. The log accepts appends, but no new letter until some
// are dropped.
func TestDeadLetters_OverTheirBoundFromBefore(t *testing.T) {
	o := wal.Options{Dir: t.TempDir(), MaxSize: 4 << 20}
	d := deadletter.Open(o.Dir, deadletter.Options{})
	for range 100 {
		must(t, d.Put(sized(60_000)))
	}
	must(t, d.Close())
	l := open(t, o)
	if got := fill(t, l, "s", 1000, 1); got.Bytes < 1<<20 {
		t.Errorf("got %d bytes stored, want some", got.Bytes)
	}
	d = l.OpenDeadLetters(nil)
	defer d.Close()
	if err := d.Put(sized(10)); !errors.Is(err, deadletter.ErrFull) {
		t.Errorf("got %v, want ErrDeadFull", err)
	}
	_, err := d.Drop(letterIDs(t, d)...)
	must(t, err)
	must(t, d.Put(sized(10)))
	wantUnderMax(t, l, o.Dir)
}
