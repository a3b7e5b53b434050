//go:build linux

package wal_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	goSync "sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/standpipe/standpipe/wal"
)

// BenchmarkNumbered compares the appends of producers that number their events with those of others. Two logs in the
// same run take turns. An operation is an append of one event of 200 bytes to each.
func BenchmarkNumbered(b *testing.B) {
	for _, writers := range []int{1, 32} {
		b.Run(fmt.Sprintf("size=200B/writers=%d", writers), func(b *testing.B) { benchmarkNumbered(b, writers) })
	}
}

func benchmarkNumbered(b *testing.B, writers int) {
	plain := newSenders(b, writers, false)
	numbered := newSenders(b, writers, true)
	turn := 512 * writers
	for range 2 { // each producer has all its runs
		plain.run(b, turn)
		numbered.run(b, turn)
	}
	plain.cost, numbered.cost = cost{}, cost{}
	b.ResetTimer()
	for left := b.N; left > 0; left -= turn {
		plain.run(b, min(turn, left))
		numbered.run(b, min(turn, left))
	}
	b.StopTimer()
	for name, s := range map[string]*senders{"plain": plain, "numbered": numbered} {
		b.ReportMetric(float64(s.written)/float64(b.N), name+"-B/op")
		b.ReportMetric(float64(s.took)/float64(b.N), name+"-ns/op")
		b.ReportMetric(float64(s.allocated)/float64(b.N), name+"-alloc-B/op")
	}
	b.ReportMetric(float64(numbered.written)/float64(plain.written), "x-written")
	b.ReportMetric(float64(numbered.took)/float64(plain.took), "x-time")
	b.ReportMetric(float64(numbered.allocated)/float64(plain.allocated), "x-allocated")
}

// cost is what some appends cost.
type cost struct {
	took               time.Duration
	written, allocated int64
}

// senders append concurrently, one event at a time.
type senders struct {
	log     *wal.Log
	batches []wal.Batch
	cost
}

func newSenders(b *testing.B, n int, numbered bool) *senders {
	s := &senders{log: open(b, wal.Options{Dir: b.TempDir()}), batches: make([]wal.Batch, n)}
	for i := range s.batches {
		s.batches[i] = wal.Batch{Stream: "s", Events: []wal.Event{{Key: fmt.Sprint(i), Data: make([]byte, 200), Time: 1}}}
		if numbered {
			s.batches[i].ProducerID = fmt.Sprintf("%016x-%016x", rand.Uint64(), i)
		}
	}
	return s
}

func (s *senders) run(b *testing.B, n int) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	writes, start := written(b), time.Now()
	var left atomic.Int64
	left.Store(int64(n))
	var group goSync.WaitGroup
	for i := range s.batches {
		batch := &s.batches[i]
		group.Go(func() {
			for left.Add(-1) >= 0 {
				if batch.ProducerID != "" {
					batch.ProducerSequence++
				}
				if _, err := s.log.Append(context.Background(), batch); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
	s.took += time.Since(start)
	s.written += written(b) - writes
	runtime.ReadMemStats(&after)
	s.allocated += int64(after.TotalAlloc - before.TotalAlloc)
}

// BenchmarkProducers measures a log that keeps many producers with all their runs: the append that begins a segment
// beside the usual one, the longest append, and Open. An operation is a segment of appends of 1 MiB. It compares with a
// log of one producer in the same run.
func BenchmarkProducers(b *testing.B) {
	for _, producers := range []int{1, 1000, wal.MaxProducers*2 - 1} {
		b.Run(fmt.Sprint("producers=", producers), func(b *testing.B) { benchmarkProducers(b, producers) })
	}
}

func benchmarkProducers(b *testing.B, producers int) {
	o := wal.Options{Dir: b.TempDir(), MaxSize: 16 << 30}
	l := open(b, o)
	knownProducers(b, l, producers)
	batch := kibibyteBatch("k", 1024)
	before := l.Stat().Segments
	var took, first []time.Duration
	wrote := written(b)
	b.ResetTimer()
	for range b.N {
		for segments := l.Stat().Segments; l.Stat().Segments == segments; {
			start := time.Now()
			if _, err := l.Append(context.Background(), batch); err != nil {
				b.Fatal(err)
			}
			took = append(took, time.Since(start))
		}
		start := time.Now()
		if _, err := l.Append(context.Background(), batch); err != nil {
			b.Fatal(err)
		}
		first = append(first, time.Since(start))
	}
	b.StopTimer()
	wrote = written(b) - wrote
	rolled := l.Stat().Segments - before
	must(b, l.Close())
	start := time.Now()
	open(b, o)
	b.ReportMetric(time.Since(start).Seconds()*1000, "open-ms")
	b.ReportMetric(percentile(took, 0.5).Seconds()*1000, "usual-ms")
	b.ReportMetric(percentile(first, 0.5).Seconds()*1000, "first-ms")
	b.ReportMetric(max(percentile(took, 1), percentile(first, 1)).Seconds()*1000, "longest-ms")
	b.ReportMetric(float64(wrote)/float64(int64(len(took)+len(first))<<20), "written/byte")
	b.ReportMetric(float64(rolled)/float64(b.N), "segments/op")
}

// knownProducers makes the log keep that many producers with as many runs as it keeps of each.
func knownProducers(b *testing.B, l *wal.Log, n int) {
	b.Helper()
	const atOnce = 1024
	batches := make([]wal.Batch, n)
	for i := range batches {
		batches[i] = wal.Batch{Stream: "s", ProducerID: fmt.Sprintf("%016x-%016x", rand.Uint64(), i), Events: []wal.Event{{Key: "k", Time: 1}}}
	}
	tickets := make([]*wal.Ticket, 0, atOnce)
	for range wal.ProducerRuns {
		for i := range batches {
			batches[i].ProducerSequence++
			ticket, err := l.Submit(context.Background(), &batches[i])
			must(b, err)
			if tickets = append(tickets, ticket); len(tickets) == atOnce || i == n-1 {
				if n == 1 { // an event of another producer makes the next batch another run
					_, err := l.Append(context.Background(), &wal.Batch{Stream: "s", Events: []wal.Event{{Key: "k", Time: 1}}})
					must(b, err)
				}
				for _, t := range tickets {
					_, err := t.Wait(context.Background())
					must(b, err)
				}
				tickets = tickets[:0]
			}
		}
	}
}
