//go:build linux

package wal_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	goSync "sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/standpipe/standpipe/test/floor"
	"github.com/standpipe/standpipe/wal"
)

// Each benchmark alternates between the log and its floor, and reports as x-floor how many times as long the log takes:
// both see the machine in the same state. The floor is bbolt alone, in package floor.

func commit(b *testing.B, f *floor.Floor, data []byte) {
	b.Helper()
	must(b, f.Commit(data))
}

func sum(took []time.Duration) (total time.Duration) {
	for _, d := range took {
		total += d
	}
	return total
}

func percentile(took []time.Duration, p float64) time.Duration {
	slices.Sort(took)
	return took[int(p*float64(len(took)-1))]
}

func kibibyteBatch(key string, events int) *wal.Batch {
	batch := &wal.Batch{Stream: "s"}
	data := make([]byte, 1024)
	for range events {
		batch.Events = append(batch.Events, wal.Event{Key: key, Data: data, Time: 1})
	}
	return batch
}

func BenchmarkAppend(b *testing.B) {
	for _, shape := range []struct{ writers, events int }{{1, 1}, {1, 100}, {64, 1}, {64, 100}} {
		name := fmt.Sprintf("size=1KiB/writers=%d/events=%d", shape.writers, shape.events)
		b.Run(name, func(b *testing.B) { benchmarkAppend(b, shape.writers, shape.events) })
	}
}

// freshData is a floor whose data comes from memory, like the data of events, and not from the processor's cache.
type freshData struct {
	floor *floor.Floor
	data  []byte
	at    int
}

func newFreshData(b *testing.B) *freshData {
	b.Helper()
	return &freshData{floor: floor.New(b, wal.BlockAim), data: bytes.Repeat([]byte("fresh"), 64<<20/5)}
}

func (f *freshData) commit(b *testing.B, size int) {
	b.Helper()
	if f.at+size > len(f.data) {
		f.at = 0
	}
	commit(b, f.floor, f.data[f.at:f.at+size])
	f.at += size
}

// benchmarkAppend measures appends. The floor stores the same commits one after the other; a second floor does so with
// fresh data.
func benchmarkAppend(b *testing.B, writers, events int) {
	var commits []int64 // bytes of each; owned by the committer until an append has returned
	l := open(b, wal.Options{Dir: b.TempDir(), OnCommit: func(c wal.CommitInfo) { commits = append(commits, c.Bytes) }})
	reference := floor.New(b, wal.BlockAim)
	data := make([]byte, 64<<20) // never written: the kernel maps it all to one page of zeros, which stays in the cache
	fresh := newFreshData(b)
	appenders := newAppenders(l, writers, events)
	b.SetBytes(int64(events) * 1024)
	b.ReportAllocs()
	stored := 0
	b.ResetTimer()
	for left := b.N; left > 0; {
		n := min(left, 16*writers)
		appenders.run(b, n)
		left -= n
		b.StopTimer()
		for _, size := range commits {
			commit(b, reference, data[:size])
		}
		for _, size := range commits {
			fresh.commit(b, int(size))
		}
		stored += len(commits)
		commits = commits[:0]
		b.StartTimer()
	}
	b.StopTimer()
	took := slices.Concat(appenders.took...)
	p50 := percentile(took, 0.5)
	b.ReportMetric(float64(b.N*events)/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(float64(stored)/float64(b.N), "commits/op")
	b.ReportMetric(float64(percentile(took, 0.99))/float64(p50), "p99/p50")
	b.ReportMetric(float64(b.Elapsed())/float64(sum(reference.Took)), "x-floor")
	b.ReportMetric(float64(b.Elapsed())/float64(sum(fresh.floor.Took)), "x-fresh")
	if writers == 1 {
		b.ReportMetric(float64(p50)/float64(percentile(reference.Took, 0.5)), "p50-x-floor")
	}
}

// appenders append concurrently; each appends its own batch again and again.
type appenders struct {
	log     *wal.Log
	batches []*wal.Batch
	took    [][]time.Duration
}

func newAppenders(l *wal.Log, writers, events int) *appenders {
	a := &appenders{log: l, took: make([][]time.Duration, writers)}
	for w := range writers {
		a.batches = append(a.batches, kibibyteBatch(strconv.Itoa(w), events))
	}
	return a
}

// run appends n batches. When it returns, the commit that holds the last batch has been counted.
func (a *appenders) run(b *testing.B, n int) {
	var left atomic.Int64
	left.Store(int64(n))
	var group goSync.WaitGroup
	for w, batch := range a.batches {
		group.Go(func() {
			for left.Add(-1) >= 0 {
				start := time.Now()
				if _, err := a.log.Append(context.Background(), batch); err != nil {
					b.Error(err)
					return
				}
				a.took[w] = append(a.took[w], time.Since(start))
			}
		})
	}
	group.Wait()
}

// BenchmarkAmplification measures the bytes written for each byte of payload. An operation is one commit.
func BenchmarkAmplification(b *testing.B) {
	for _, size := range []int{200, 1024, 4096} {
		for _, shape := range []struct{ kib, streams int }{{16, 1}, {256, 1}, {1024, 1}, {256, 16}} {
			name := fmt.Sprintf("size=%dB/commit=%dKiB/streams=%d", size, shape.kib, shape.streams)
			b.Run(name, func(b *testing.B) { benchmarkAmplification(b, shape.kib<<10, shape.streams, size) })
		}
	}
}

func benchmarkAmplification(b *testing.B, commit, streams, size int) {
	commits := 0
	l := open(b, wal.Options{
		Dir: b.TempDir(), CommitLinger: time.Millisecond, // so that the batches of all streams share a commit
		OnCommit: func(wal.CommitInfo) { commits++ },
	})
	batch := wal.Batch{Events: make([]wal.Event, commit/streams/size)}
	for i := range batch.Events {
		batch.Events[i] = wal.Event{Key: "k", Data: bytes.Repeat([]byte{byte(i)}, size), Time: 1}
	}
	payload := int64(streams * len(batch.Events) * size)
	b.SetBytes(payload)
	rounds := 0
	before := written(b)
	for b.Loop() {
		appendToEach(b, l, &batch, streams)
		rounds++
	}
	b.ReportMetric(float64(written(b)-before)/float64(payload*int64(rounds)), "written/byte")
	b.ReportMetric(float64(commits)/float64(rounds), "commits/op")
}

func appendToEach(b *testing.B, l *wal.Log, batch *wal.Batch, streams int) {
	tickets := make([]*wal.Ticket, streams)
	for i := range tickets {
		batch.Stream = fmt.Sprintf("s%d", i)
		var err error
		if tickets[i], err = l.Submit(context.Background(), batch); err != nil {
			b.Fatal(err)
		}
	}
	for _, t := range tickets {
		if _, err := t.Wait(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
}

// written returns the bytes that this process has passed to write calls.
func written(b *testing.B) (n int64) {
	b.Helper()
	stat, err := os.ReadFile("/proc/self/io")
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := bytes.Cut(stat, []byte("wchar: "))
	if _, err := fmt.Sscan(string(rest), &n); err != nil {
		b.Fatal(err)
	}
	return n
}

// backlog fills dir with events of 1 KiB in batches of 1 MiB.
func backlog(b *testing.B, dir string, size int64) {
	b.Helper()
	l, err := wal.Open(context.Background(), wal.Options{Dir: dir})
	if err != nil {
		b.Fatal(err)
	}
	batch := kibibyteBatch("k", 1024)
	for range size >> 20 {
		if _, err := l.Append(context.Background(), batch); err != nil {
			b.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkRead reads a backlog in order; the floor reads the segment files as a whole.
func BenchmarkRead(b *testing.B) {
	const size = 128 << 20
	dir := b.TempDir()
	backlog(b, dir, size)
	l := open(b, wal.Options{Dir: dir})
	var took, floor time.Duration
	b.SetBytes(size)
	b.ReportAllocs()
	for b.Loop() {
		start := time.Now()
		for chunk := (wal.Chunk{Next: 1}); !chunk.End; {
			var err error
			if chunk, err = l.Read("s", chunk.Next, wal.AllLanes, 1<<20); err != nil {
				b.Fatal(err)
			}
		}
		took += time.Since(start)
		b.StopTimer()
		floor += readPlainly(b, dir)
		b.StartTimer()
	}
	b.ReportMetric(float64(took)/float64(floor), "x-floor")
}

func readPlainly(b *testing.B, dir string) time.Duration {
	b.Helper()
	start := time.Now()
	paths, _ := filepath.Glob(filepath.Join(dir, "wal", "*.seg"))
	for _, path := range paths {
		if _, err := os.ReadFile(path); err != nil {
			b.Fatal(err)
		}
	}
	return time.Since(start)
}

// BenchmarkOpen opens and closes a log with a backlog; the floor is a log without one.
func BenchmarkOpen(b *testing.B) {
	b.Run("backlog=1GiB", func(b *testing.B) {
		if testing.Short() {
			b.Skip("writing a backlog of 1 GiB is left out with -short")
		}
		dir, empty := b.TempDir(), b.TempDir()
		backlog(b, dir, 1<<30)
		backlog(b, empty, 0)
		var took, floor time.Duration
		for b.Loop() {
			took += openAndClose(b, dir)
			b.StopTimer()
			floor += openAndClose(b, empty)
			b.StartTimer()
		}
		b.ReportMetric(float64(took)/float64(floor), "x-floor")
	})
}

// openAndClose returns how long Open took.
func openAndClose(b *testing.B, dir string) time.Duration {
	b.Helper()
	start := time.Now()
	l, err := wal.Open(context.Background(), wal.Options{Dir: dir})
	took := time.Since(start)
	if err != nil {
		b.Fatal(err)
	}
	if err := l.Close(); err != nil {
		b.Fatal(err)
	}
	return took
}
