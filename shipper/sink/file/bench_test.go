package file_test

import (
	"fmt"
	"testing"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/sink/file"
)

func BenchmarkFileSend(b *testing.B) {
	for _, size := range []int{4 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("batch=%dKiB", size>>10), func(b *testing.B) {
			f, err := file.Open(file.Options{Path: b.TempDir(), Stream: "s"})
			if err != nil {
				b.Fatal(err)
			}
			defer f.Close()
			data := make([]byte, size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			offset := uint64(0)
			for b.Loop() {
				offset++
				got := f.Send(b.Context(), []shipper.Record{{First: offset, Last: offset, Events: 1, Data: data}})
				if got.Err != nil {
					b.Fatal(got.Err)
				}
				f.Committed(got.State)
			}
		})
	}
}
