package kinesis_test

import (
	"fmt"
	"testing"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/sink/kinesis"
	"github.com/standpipe/standpipe/test/fakeaws"
)

// The small batch is a request of a stream with little traffic, as an agent with many streams sends them.
func BenchmarkKinesisSend(b *testing.B) {
	for _, bench := range []struct{ record, batch int }{{512, 1}, {512, 4}, {50 << 10, 104}, {500 << 10, 10}} {
		size := bench.record
		b.Run(fmt.Sprintf("record=%dB/records=%d", size, bench.batch), func(b *testing.B) {
			srv := fakeaws.Start(b)
			srv.Forget()
			k, err := kinesis.New(b.Context(), kinesis.Options{Stream: "s", AWS: srv.Options()})
			if err != nil {
				b.Fatal(err)
			}
			defer k.Close()
			batch := make([]shipper.Record, bench.batch)
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
