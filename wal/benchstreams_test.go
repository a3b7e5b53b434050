package wal_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/standpipe/standpipe/wal"
)

// manyStreams is a log of many streams with one destination each. Each segment has events of every stream.
type manyStreams struct {
	log     *wal.Log
	names   []string
	cursors []*wal.Cursor
	next    uint64 // of the settled events, in each stream
}

func openStreams(b *testing.B, streams, segments int) *manyStreams {
	b.Helper()
	m := &manyStreams{log: open(b, wal.Options{Dir: b.TempDir(), MaxSize: 4 << 30, SegmentSize: 4 << 20}), next: 1}
	for i := range streams {
		m.names = append(m.names, fmt.Sprintf("tenant-%05d", i))
		p, err := m.log.OpenCursor(m.names[i], "archive")
		must(b, err)
		m.cursors = append(m.cursors, p)
	}
	for m.log.Stat().Segments < segments || m.log.Next(m.names[0]) == 1 {
		m.append(b)
	}
	sync(b, m.log)
	return m
}

// append appends an event to each stream.
func (m *manyStreams) append(b *testing.B) {
	b.Helper()
	data := strings.Repeat("x", 512)
	tickets := make([]*wal.Ticket, len(m.names))
	for i, name := range m.names {
		t, err := m.log.Submit(b.Context(), &wal.Batch{Stream: name, Events: []wal.Event{event(name, data)}})
		must(b, err)
		tickets[i] = t
	}
	for _, t := range tickets {
		_, err := t.Wait(b.Context())
		must(b, err)
	}
}

// settle settles the next event of each of the first n streams.
func (m *manyStreams) settle(b *testing.B, n int) {
	b.Helper()
	for i, p := range m.cursors[:n] {
		lane := wal.LaneOf(m.names[i])
		must(b, p.Settle(wal.Settlement{
			Lanes: map[uint8]wal.Progress{lane: {Checkpoint: m.next + 1}},
			Add:   wal.Ledger{Delivered: wal.Count{Events: 1, Bytes: 512}, Requests: 1},
		}))
	}
}

// BenchmarkCheckpoint_ManyStreams writes a checkpoint of all cursors, or of one, of a log with many streams and segments.
// The time of the settlements does not count.
func BenchmarkCheckpoint_ManyStreams(b *testing.B) {
	for _, streams := range []int{1, 1_000, 10_000} {
		for _, moved := range []string{"one", "all"} {
			b.Run(fmt.Sprintf("streams=%d/moved=%s", streams, moved), func(b *testing.B) {
				m := openStreams(b, streams, 20)
				n := 1
				if moved == "all" {
					n = streams
				}
				before := m.log.Stat()
				b.ReportAllocs()
				for b.Loop() {
					b.StopTimer()
					if m.log.Next(m.names[0]) == m.next {
						m.append(b)
					}
					m.settle(b, n)
					m.next++
					b.StartTimer()
					sync(b, m.log)
				}
				b.ReportMetric(float64(before.StateBytes), "state-bytes")
				b.ReportMetric(float64(before.Segments), "segments")
			})
		}
	}
}

// BenchmarkStatus_ManyStreams reads what a status shows of each stream.
func BenchmarkStatus_ManyStreams(b *testing.B) {
	for _, streams := range []int{1, 1_000, 10_000} {
		b.Run(fmt.Sprintf("streams=%d", streams), func(b *testing.B) {
			m := openStreams(b, streams, 20)
			b.ReportAllocs()
			for b.Loop() {
				for _, s := range m.log.Streams() {
					m.log.Share(s.Name)
					for _, p := range m.log.Cursors(s.Name) {
						p.Stat()
					}
					m.log.Appended(s.Name)
				}
			}
		})
	}
}
