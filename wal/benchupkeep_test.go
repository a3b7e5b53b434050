//go:build linux

package wal_test

import (
	"context"
	"testing"
	"time"

	"github.com/standpipe/standpipe/wal"
)

// BenchmarkUpkeep appends 100 events of 1 KiB at a time. Segments roll every 40 commits. They are truncated once they
// are settled, or compacted because a third of each is not settled. The floor is a log in the same run that is settled
// in the same way, but whose segment never ends. The two alternate, and the upkeep of one ends before the other
// continues. added-commits is the 99th percentile of the tested log minus that of the floor, in units of the floor's
// median commit.
func BenchmarkUpkeep(b *testing.B) {
	b.Run("roll", func(b *testing.B) { benchmarkUpkeep(b, false, false) })
	b.Run("truncate", func(b *testing.B) { benchmarkUpkeep(b, true, false) })
	b.Run("rewrite", func(b *testing.B) { benchmarkUpkeep(b, true, true) })
}

func benchmarkUpkeep(b *testing.B, settles, stuck bool) {
	floor := upkeep{log: open(b, wal.Options{Dir: b.TempDir(), SegmentSize: 2 << 30})}
	o := wal.Options{Dir: b.TempDir(), SegmentSize: 4 << 20, MaxSize: 1 << 30}
	if stuck {
		o = o.Rewriting()
	}
	tested := upkeep{log: open(b, o)}
	if settles {
		floor.settled, tested.settled = floor.place(b, "s"), tested.place(b, "s")
	}
	if stuck {
		tested.place(b, "stuck")
	}
	batch, stays := kibibyteBatch("0", 100), kibibyteBatch("0", 800)
	stays.Stream = "stuck"
	const turn = 128
	for i := 0; i < b.N; i += turn {
		for range min(turn, b.N-i) {
			floor.append(b, batch)
		}
		rewritten(b, floor.log)
		for j := range min(turn, b.N-i) {
			tested.append(b, batch)
			if stuck && j%16 == 0 {
				if _, err := tested.log.Append(b.Context(), stays); err != nil {
					b.Fatal(err)
				}
			}
		}
		rewritten(b, tested.log)
	}
	commit := percentile(floor.took, 0.5)
	b.ReportMetric(float64(percentile(tested.took, 0.99)-percentile(floor.took, 0.99))/float64(commit), "added-commits")
	b.ReportMetric(float64(percentile(floor.took, 0.99))/float64(commit), "floor-p99/p50")
	b.ReportMetric(float64(percentile(tested.took, 0.5))/float64(commit), "p50-x-floor")
	b.ReportMetric(float64(tested.log.Stat().Segments), "segments")
}

// upkeep is a log with one writer, which settles each append at once.
type upkeep struct {
	log     *wal.Log
	settled *wal.Cursor
	took    []time.Duration
}

func (u *upkeep) place(b *testing.B, stream string) *wal.Cursor {
	b.Helper()
	p, err := u.log.OpenCursor(stream, "d")
	if err != nil {
		b.Fatal(err)
	}
	return p
}

func (u *upkeep) append(b *testing.B, batch *wal.Batch) {
	start := time.Now()
	a, err := u.log.Append(context.Background(), batch)
	if err != nil {
		b.Fatal(err)
	}
	u.took = append(u.took, time.Since(start))
	if u.settled == nil {
		return
	}
	s := wal.Settlement{Lanes: make(map[uint8]wal.Progress), Add: wal.Ledger{Delivered: wal.Count{Events: uint64(a.Count), Bytes: uint64(a.Count) << 10}}}
	for lane := range uint8(wal.Lanes) {
		s.Lanes[lane] = wal.Progress{Checkpoint: a.First + uint64(a.Count)}
	}
	u.settled.Settle(s)
}
