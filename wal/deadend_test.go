//go:build linux

package wal_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"github.com/standpipe/standpipe/test/draw"
	"github.com/standpipe/standpipe/wal"
)

// deadEndDraws names the environment variable for the number of logs that TestDeadEnd_NoneOnceAllIsSettled draws. If it is
// set, each of them takes several times as many events.
const deadEndDraws = "STANDPIPE_WAL_DRAWS"

// fullLog is a log with random sizes that the test fills and empties again.
type fullLog struct {
	t    *testing.T
	l    *wal.Log
	o    wal.Options
	rand *rand.Rand

	streams, producers, size int
	most                     int               // events that a round stores
	volume                   int64             // 0: larger than the log
	sent, stored             map[string]uint64 // the last sequence, by stream and producer
	places                   map[string]*wal.Cursor
	rejected                 int // appends that were rejected because of a name
}

// A log whose events are all settled accepts appends again, for any size of the log and of its volume and any number of
// streams and producers. It never occupies more than its maximum, and accepts any event that fits into an empty log.
func TestDeadEnd_NoneOnceAllIsSettled(t *testing.T) {
	draws, _ := strconv.Atoi(os.Getenv(deadEndDraws))
	most := 40_000
	if draws == 0 {
		draws, most = 10, 10_000
		if testing.Short() {
			draws = 4
		}
	}
	seed := draw.Seed(t)
	for i := range uint64(draws) {
		t.Run(fmt.Sprintf("seed=%d", seed+i), func(t *testing.T) { drawFullLog(t, seed+i, most) })
	}
}

func drawFullLog(t *testing.T, seed uint64, most int) {
	r := rand.New(rand.NewPCG(seed, 1))
	// upTo returns a random number up to most. Each order of magnitude is equally likely.
	upTo := func(most int) int { return int(math.Exp(r.Float64() * math.Log(float64(most)))) }
	f := &fullLog{t: t, rand: r, most: most, sent: make(map[string]uint64), stored: make(map[string]uint64), places: make(map[string]*wal.Cursor)}
	f.o = wal.Options{MaxSize: 1 << 20 * int64(upTo(64)), OnFull: []wal.OnFull{wal.Reject, wal.Reject, wal.Block, wal.DropOldest}[r.IntN(4)]}
	f.o.Retain = []time.Duration{0, time.Hour}[r.IntN(2)]
	least := f.o.MaxSize
	if r.IntN(2) == 0 {
		f.volume = 8<<20 + int64(r.IntN(24<<20))
		least = min(least, f.volume)
		if r.IntN(2) == 0 {
			f.o.MaxSize, least = 0, f.volume
		}
	}
	f.streams, f.producers, f.size = upTo(10_000), upTo(16_384), upTo(int(least/8))
	f.o.Dir = f.folder()
	t.Logf("max %d, volume %d, %d streams, %d producers, events of %d bytes, %s, retain %v", f.o.MaxSize, f.volume, f.streams, f.producers, f.size, f.o.OnFull, f.o.Retain)
	var said bytes.Buffer
	f.o.Logger = hclog.New(&hclog.LoggerOptions{Level: hclog.Warn, Output: &said})
	defer func() {
		if t.Failed() {
			t.Logf("%s", &said)
		}
	}()
	f.l = open(t, f.o)
	defer f.l.Close() // before the volume is unmounted
	for round := range 3 {
		n := f.fill()
		f.settle()
		f.wantAccepted(round)
		f.settle()
		t.Logf("round %d: %d stored, %d names rejected, %+v", round, n, f.rejected, f.l.Stat())
	}
	must(t, f.l.Close())
	wantSound(t, f.o.Dir)
}

// folder returns the directory of the log, in memory if possible, on a volume of the random size.
func (f *fullLog) folder() string {
	size := f.volume
	if size == 0 {
		size = 160 << 20
	}
	d, err := newMemory(f.t, fmt.Sprintf("size=%d", size))
	if err == nil {
		return filepath.Join(d.Mount, "data")
	}
	if f.volume > 0 {
		notTested(f.t, "a small volume, since this process may not mount one", err)
		f.volume = 0
		f.o.MaxSize = max(f.o.MaxSize, 16<<20)
	}
	return f.t.TempDir()
}

// fill appends until the log has rejected a few appends as full, or until it has appended or stored enough.
func (f *fullLog) fill() (stored int) {
	enough := 3 * f.least()
	for appended, full := int64(0), 0; appended < enough && stored < f.most && full < 5; {
		var tickets []*wal.Ticket
		var batches []*wal.Batch
		if f.o.OnFull == wal.DropOldest {
			f.drop()
		}
		ctx, cancel := context.WithTimeout(f.t.Context(), 300*time.Millisecond)
		for range 1 + f.rand.IntN(100) {
			b := f.batch()
			ticket, err := f.l.Submit(ctx, b)
			if errors.Is(err, context.DeadlineExceeded) {
				break
			}
			must(f.t, err)
			tickets, batches = append(tickets, ticket), append(batches, b)
		}
		for i, ticket := range tickets {
			_, err := ticket.Wait(ctx)
			switch {
			case err == nil:
				f.stored[producerOf(batches[i])] = batches[i].ProducerSequence
				stored++
				appended += int64(f.size) + 300
			case errors.Is(err, wal.ErrFull), errors.Is(err, context.DeadlineExceeded):
				full++
			case errors.Is(err, wal.ErrStateFull):
				f.rejected++
			case errors.Is(err, wal.ErrSequence): // an earlier batch of the producer was rejected
			default:
				f.t.Fatalf("after %d events: %v", stored, err)
			}
		}
		cancel()
		for _, b := range batches {
			f.sent[producerOf(b)] = f.stored[producerOf(b)]
		}
		f.wantWithin()
		if f.rejected > f.most/2 {
			break
		}
	}
	return stored
}

func (f *fullLog) least() int64 {
	least := f.l.Stat().MaxBytes
	if f.volume > 0 {
		least = min(least, f.volume)
	}
	return least
}

// batch returns a batch with one event, of a random stream and a random producer.
func (f *fullLog) batch() *wal.Batch {
	stream := fmt.Sprintf("stream-%d", f.rand.IntN(f.streams))
	if f.places[stream] == nil {
		p, err := f.l.OpenCursor(stream, "archive")
		must(f.t, err)
		f.places[stream] = p
	}
	b := &wal.Batch{Stream: stream, Events: []wal.Event{event(fmt.Sprint(f.rand.IntN(1000)), strings.Repeat("x", f.size))}}
	if f.producers > 1 {
		b.ProducerID = fmt.Sprintf("3f2b8c1e-7a5d-4c9b-8e6f-%012d", f.rand.IntN(f.producers))
		f.sent[producerOf(b)]++
		b.ProducerSequence = f.sent[producerOf(b)]
	}
	return b
}

func producerOf(b *wal.Batch) string { return b.Stream + " " + b.ProducerID }

// settle settles all events.
func (f *fullLog) settle() {
	for _, p := range f.places {
		if st := p.Stat(); st.Pending.Events > 0 {
			settleAll(f.l, p, st.Pending)
		}
	}
	must(f.t, f.l.Sync(f.t.Context()))
	for name, p := range f.places {
		if st := p.Stat(); st.Pending.Events != 0 {
			f.t.Fatalf("%s: got %+v pending", name, st.Pending)
		}
	}
	f.wantWithin()
}

// drop settles the events below the floor of each cursor.
func (f *fullLog) drop() {
	for _, p := range f.places {
		if floor := p.Floor().Offset(); floor > 0 && floor > p.Stat().Checkpoint {
			dropTo(f.l, p, floor)
		}
	}
}

// wantAccepted appends to a stream that already has events.
func (f *fullLog) wantAccepted(round int) {
	f.t.Helper()
	for name, p := range f.places {
		if p.Stat().Appended.Events == 0 {
			continue
		}
		ctx, cancel := context.WithTimeout(f.t.Context(), time.Minute)
		defer cancel()
		if _, err := f.l.Append(ctx, &wal.Batch{Stream: name, Events: []wal.Event{event("k", strings.Repeat("x", f.size))}}); err != nil {
			f.t.Fatalf("round %d: nothing is pending, and an event is rejected: %v; %+v", round, err, f.l.Stat())
		}
		return
	}
	f.t.Fatal("nothing was stored at all")
}

// wantWithin checks that the log occupies at most its maximum.
func (f *fullLog) wantWithin() {
	f.t.Helper()
	if st := f.l.Stat(); st.Bytes > st.MaxBytes {
		f.t.Fatalf("got %+v", st)
	} else if n := occupiedNow(f.t, f.l); n > st.MaxBytes {
		f.t.Fatalf("got %d bytes on the disk, %+v", n, st)
	}
}

// occupiedNow returns the same as occupied, and tolerates files that appear or disappear meanwhile.
func occupiedNow(t testing.TB, l *wal.Log) (n int64) {
	files, err := filepath.Glob(filepath.Join(l.Dir(), "*"))
	must(t, err)
	for _, file := range files {
		var st unix.Stat_t
		if unix.Stat(file, &st) == nil {
			n += st.Blocks * 512
		}
	}
	return n
}
