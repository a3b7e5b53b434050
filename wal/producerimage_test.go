package wal_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/standpipe/standpipe/test/draw"
	"github.com/standpipe/standpipe/wal"
)

// sender is a producer of TestProducer_ResendsAreRecognizedInEveryImage.
type sender struct {
	id   string
	next uint64
	sent []modelBatch
}

// batchOf returns a batch of the sender's stored events, or of its next ones.
func (s *sender) batchOf(sequence, count uint64, size int) *wal.Batch {
	b := &wal.Batch{Stream: "s", ProducerID: s.id, ProducerSequence: sequence}
	for range count {
		b.Events = append(b.Events, event("k", string(make([]byte, size))))
	}
	return b
}

// imageTest checks a log against the batches that it has stored.
type imageTest struct {
	t       *testing.T
	rand    *rand.Rand
	senders []*sender
}

// check resends drawn batches to a log, and the last one of each producer. Each is stored, so the log must store nothing.
func (m *imageTest) check(l *wal.Log) {
	m.t.Helper()
	end := l.Next("s")
	for _, s := range m.senders {
		if len(s.sent) == 0 {
			continue
		}
		for _, old := range []modelBatch{s.sent[len(s.sent)-1], s.sent[m.rand.IntN(len(s.sent))]} {
			got, err := l.Append(bg, s.batchOf(old.sequence, old.count, 0))
			want := wal.Appended{First: old.first, Count: int(old.count), Duplicate: true}
			if err != nil || got != want {
				m.t.Fatalf("producer %s sends %d again, of %d: got %+v, %v, want %+v", s.id, old.sequence, s.next, got, err, want)
			}
		}
		if _, err := l.Append(bg, s.batchOf(s.next+1, 1, 0)); !errors.Is(err, wal.ErrSequence) {
			m.t.Fatalf("producer %s leaves out %d: got %v", s.id, s.next, err)
		}
	}
	if got := l.Next("s"); got != end {
		m.t.Fatalf("got next %d after resends, want %d", got, end)
	}
}

// append submits batches of several producers at once, so that they share a commit, and sends some of them twice.
func (m *imageTest) append(l *wal.Log) {
	m.t.Helper()
	var tickets []*wal.Ticket
	var all []*wal.Batch
	var from []*sender
	submit := func(s *sender, b *wal.Batch) {
		ticket, err := l.Submit(bg, b)
		must(m.t, err)
		tickets, all, from = append(tickets, ticket), append(all, b), append(from, s)
	}
	sizes, counts := []int{0, 10, 100, 3000}, []uint64{1, 2, 30, 100}
	for _, i := range m.rand.Perm(len(m.senders))[:1+m.rand.IntN(len(m.senders))] {
		s := m.senders[i]
		b := s.batchOf(s.next, counts[m.rand.IntN(len(counts))], sizes[m.rand.IntN(len(sizes))])
		submit(s, b)
		if m.rand.IntN(4) == 0 {
			submit(s, b)
		}
		if m.rand.IntN(3) == 0 {
			submit(&sender{}, (&sender{}).batchOf(0, 1, 10)) // not numbered
		}
	}
	for i, ticket := range tickets {
		got, err := ticket.Wait(bg)
		must(m.t, err)
		s := from[i]
		if s.id == "" || got.Duplicate {
			continue
		}
		count := uint64(len(all[i].Events))
		s.sent = append(s.sent, modelBatch{s.next, got.First, count})
		s.next += count
	}
}

// A copy of a log may lack batches that a producer has sent to the original, and the producer may leave them out once: also
// if the copy was opened before without a batch of it.
func TestProducer_MayLeaveOutBatchesAfterSeveralOpenings(t *testing.T) {
	o := wal.Options{Dir: t.TempDir()}
	l := open(t, o)
	for sequence := range uint64(3) {
		_, err := numbered(l, "p", sequence+1, 1, 10)
		must(t, err)
	}
	o.Dir = copyInstant(t, o.Dir)
	must(t, l.Close())
	for range 3 {
		l = open(t, o)
		must(t, l.Close())
	}
	l = open(t, o)
	if got, err := numbered(l, "p", 9, 1, 10); err != nil || got.First != 4 {
		t.Errorf("got %+v, %v after batches that the copy lacks, want offset 4", got, err)
	}
	if _, err := numbered(l, "p", 12, 1, 10); !errors.Is(err, wal.ErrSequence) {
		t.Errorf("got %v for a second gap, want %v", err, wal.ErrSequence)
	}
}

// A batch that was acked is recognized when it is sent again: in the running log, after it was closed, and in the image
// that a kill at any step leaves, while segments roll, are truncated and are compacted.
func TestProducer_ResendsAreRecognizedInEveryImage(t *testing.T) {
	seed := draw.Seed(t)
	for round := range uint64(3) {
		m := &imageTest{t: t, rand: rand.New(rand.NewPCG(seed, round))}
		for i := range 6 {
			m.senders = append(m.senders, &sender{id: fmt.Sprint("producer-", i), next: 1 + m.rand.Uint64N(1000)})
		}
		o := wal.Options{Dir: t.TempDir(), SegmentSize: []int64{64 << 10, 256 << 10, 4 << 20}[round], MaxSize: 64 << 20}.Rewriting()
		l := open(t, o)
		p, err := l.OpenCursor("s", "d")
		must(t, err)
		for step := range 40 {
			switch m.rand.IntN(8) {
			case 0:
				st := p.Stat()
				settleAll(l, p, st.Pending)
				sync(t, l)
			case 1:
				must(t, l.Close())
				l = open(t, o)
				p, err = l.OpenCursor("s", "d")
				must(t, err)
			default:
				m.append(l)
			}
			m.check(l)
			if step%4 != 0 {
				continue
			}
			killed := o
			killed.Dir = copyInstant(t, o.Dir)
			image := open(t, killed)
			m.check(image)
			must(t, image.Close())
		}
		must(t, l.Close())
		wantSound(t, o.Dir)
	}
}
