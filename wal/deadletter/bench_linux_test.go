package deadletter_test

import (
	"bytes"
	"fmt"
	"os"
	"testing"

	"github.com/standpipe/standpipe/test/testkit"
	"github.com/standpipe/standpipe/wal/deadletter"
)

// BenchmarkQueue_Put measures a Put beside 32 letters of the same size, and the bytes written for it.
func BenchmarkQueue_Put(b *testing.B) {
	benchmarkQueue(b, func(d *deadletter.Queue, l deadletter.Letter, id uint64) (timed, untimed func() error) {
		return func() error { return d.Put(l) }, func() error { _, err := d.Drop(id); return err }
	})
}

// BenchmarkQueue_Drop measures a Drop of one of 33 letters of the same size, and the bytes written for it.
func BenchmarkQueue_Drop(b *testing.B) {
	benchmarkQueue(b, func(d *deadletter.Queue, l deadletter.Letter, id uint64) (timed, untimed func() error) {
		return func() error { _, err := d.Drop(id); return err }, func() error { return d.Put(l) }
	})
}

func benchmarkQueue(b *testing.B, step func(d *deadletter.Queue, l deadletter.Letter, id uint64) (timed, untimed func() error)) {
	for _, size := range []int{1 << 10, 20_000, 1 << 20} {
		b.Run(fmt.Sprintf("size=%d", size), func(b *testing.B) {
			d, l := deadletter.Open(b.TempDir(), deadletter.Options{}), sized(size)
			defer d.Close()
			for range 32 {
				testkit.Must(b, d.Put(l))
			}
			b.SetBytes(int64(size))
			b.ReportAllocs()
			id, bytes := uint64(1), int64(0)
			for b.Loop() {
				timed, untimed := step(d, l, id)
				before := written(b)
				testkit.Must(b, timed())
				bytes += written(b) - before
				b.StopTimer()
				testkit.Must(b, untimed())
				b.StartTimer()
				id++
			}
			b.ReportMetric(float64(bytes)/float64(b.N), "written/op")
		})
	}
}

// written returns the bytes that this process has passed to write calls.
func written(b *testing.B) (n int64) {
	b.Helper()
	stat, err := os.ReadFile("/proc/self/io")
	testkit.Must(b, err)
	_, rest, _ := bytes.Cut(stat, []byte("wchar: "))
	_, err = fmt.Sscan(string(rest), &n)
	testkit.Must(b, err)
	return n
}
