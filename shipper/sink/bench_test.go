package sink_test

import (
	"fmt"
	"testing"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/sink"
	"github.com/standpipe/standpipe/test/fakeaws"
)

func BenchmarkKinesisSend(b *testing.B) {
	for _, size := range []int{50 << 10, 500 << 10} {
		b.Run(fmt.Sprintf("batch=5MiB/record=%dKiB", size>>10), func(b *testing.B) {
			srv := fakeaws.Start(b)
			srv.Forget()
			k, err := sink.NewKinesis(b.Context(), sink.KinesisOptions{Stream: "s", AWS: srv.Options()})
			if err != nil {
				b.Fatal(err)
			}
			defer k.Close()
			batch := make([]shipper.Record, 5<<20/(size+8))
			for i := range batch {
				batch[i] = shipper.Record{Key: fmt.Sprint("key-", i), Events: 1, Data: make([]byte, size)}
			}
			b.SetBytes(int64(len(batch) * size))
			b.ReportAllocs()
			for b.Loop() {
				if got := k.Send(b.Context(), batch); got.Err != nil {
					b.Fatal(got.Err)
				}
			}
		})
	}
}

func BenchmarkFileSend(b *testing.B) {
	for _, size := range []int{4 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("batch=%dKiB", size>>10), func(b *testing.B) {
			f, err := sink.OpenFile(sink.FileOptions{Path: b.TempDir(), Stream: "s"})
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
