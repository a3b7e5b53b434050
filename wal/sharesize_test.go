package wal_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/standpipe/standpipe/wal"
)

// drawn returns an event of about size bytes, which are in its data, its attributes, its key, or in all of them.
func drawn(r *rand.Rand, size int) wal.Event {
	e := event(fmt.Sprint("k", r.IntN(9)), "x")
	text := func(n int) string { return strings.Repeat("y", n) }
	switch r.IntN(4) {
	case 0:
		e.Data = []byte(text(size))
	case 1:
		e.Attributes = map[string]string{"a": text(size)}
	case 2:
		e.Attributes = make(map[string]string)
		for i := 0; i < size/20+1; i++ {
			e.Attributes[fmt.Sprintf("name-%03d", i)] = text(8)
		}
	default:
		e.Key = text(min(size, 256))
		e.Data = []byte(text(size / 2))
		e.Attributes = map[string]string{text(size/4 + 1): text(size / 4)}
	}
	return e
}

// weight returns the minimum number of bytes that an event must count.
func weight(e *wal.Event) int64 { return int64(len(e.Key) + e.Size()) }

// TestShare_CountsAllThatEventsCarry fills a stream to its limit with events whose bytes are spread at random over key,
// data and attributes, settles some of them, and checks that the stream never exceeds its limit by more than a tenth.
func TestShare_CountsAllThatEventsCarry(t *testing.T) {
	for seed := range uint64(12) {
		r := rand.New(rand.NewPCG(seed, 7))
		const most = 200_000
		l, p := openShared(t, most, wal.Reject)
		var pending []wal.Event // oldest first
		next, refused := uint64(1), 0
		for range 300 {
			batch := &wal.Batch{Stream: "small"}
			sum := int64(0)
			for range 1 + r.IntN(5) {
				e := drawn(r, 1+r.IntN(4000))
				batch.Events = append(batch.Events, e)
				sum += weight(&e)
			}
			held := int64(0)
			for i := range pending {
				held += weight(&pending[i])
			}
			_, err := l.Append(t.Context(), batch)
			switch {
			case err == nil && held+sum > most+most/10:
				t.Fatalf("seed %d: %d bytes are taken beside %d, of %d", seed, sum, held, most)
			case err == nil:
				pending = append(pending, batch.Events...)
			case !errors.Is(err, wal.ErrFull):
				t.Fatal(err)
			default:
				refused++
				n := 1 + r.IntN(len(pending))
				var c wal.Count
				for i := range pending[:n] {
					c.Add(wal.Count{Events: 1, Bytes: uint64(len(pending[i].Data))})
				}
				next += uint64(n)
				settleUpTo(p, next, c)
				pending = pending[n:]
			}
		}
		if refused == 0 {
			t.Errorf("seed %d: nothing was refused", seed)
		}
		var rest wal.Count
		for i := range pending {
			rest.Add(wal.Count{Events: 1, Bytes: uint64(len(pending[i].Data))})
		}
		settleUpTo(p, l.Next("small"), rest)
		if held, _ := l.Share("small"); held != 0 {
			t.Errorf("seed %d: %d bytes are held when all is settled", seed, held)
		}
	}
}

// Dropping frees space for events that the log would reject otherwise, and drops no more than that.
func TestShare_DropsOfAttributesWhatIsNeeded(t *testing.T) {
	const most = 1 << 20
	l, p := openShared(t, most, wal.DropOldest)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() { defer close(stopped); dropFloors(l, p, stop) }()
	large := event("k", "x")
	large.Attributes = map[string]string{"a": strings.Repeat("y", 50_000)}
	for i := range 200 {
		if _, err := l.Append(t.Context(), &wal.Batch{Stream: "small", Events: []wal.Event{large}}); err != nil {
			t.Fatal(err)
		}
		if n := p.Stat().Pending.Events; n > most/50_000 || i > 30 && n < 10 {
			t.Errorf("%d events of 50 kB are pending, of 1 MiB", n)
		}
	}
	close(stop)
	<-stopped
}

// settleUpTo settles all events below next and adds c to the delivered events.
func settleUpTo(p *wal.Cursor, next uint64, c wal.Count) {
	marks := make(map[uint8]wal.Progress)
	for lane := range uint8(wal.Lanes) {
		marks[lane] = wal.Progress{Checkpoint: next}
	}
	p.Settle(wal.Settlement{Lanes: marks, Add: wal.Ledger{Delivered: c}})
}
