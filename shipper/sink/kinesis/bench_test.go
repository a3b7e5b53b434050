package kinesis_test

import (
	"fmt"
	"testing"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/sink/kinesis"
	"github.com/standpipe/standpipe/test/fakeaws"
)

func BenchmarkKinesisSend(b *testing.B) {
	for _, size := range []int{50 << 10, 500 << 10} {
		b.Run(fmt.Sprintf("batch=5MiB/record=%dKiB", size>>10), func(b *testing.B) {
			srv := fakeaws.Start(b)
			srv.Forget()
			k, err := kinesis.New(b.Context(), kinesis.Options{Stream: "s", AWS: srv.Options()})
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
