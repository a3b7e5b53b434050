package jsonl_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/sink/s3/internal/jsonl"
	"github.com/standpipe/standpipe/wal"
)

func TestWriter_WritesALineAnEvent(t *testing.T) {
	envelope := &shipper.Envelope{Log: "L", Stream: "s", Format: shipper.EnvelopeJSON}
	for _, compression := range []shipper.Compression{shipper.Plain, shipper.Gzip, shipper.Zstd} {
		for _, around := range []*shipper.Envelope{nil, envelope} {
			var out bytes.Buffer
			var want strings.Builder
			w := jsonl.NewWriter(&out, compression, around)
			r := rand.New(rand.NewPCG(1, 72))
			for i := range 2000 {
				e := wal.Event{Offset: uint64(i + 1), Key: "k", Data: fmt.Appendf(nil, `{"n":%d,"r":%d}`, i, r.IntN(1<<30))}
				if around == nil {
					want.Write(e.Data)
				} else {
					want.Write(around.Append(nil, &e))
				}
				want.WriteByte('\n')
				w.Add(&e)
			}
			w.Finish()
			if got := decompress(t, compression, &out); got != want.String() {
				t.Errorf("compression %q, envelope %v: got %d bytes, want %d", compression, around != nil, len(got), want.Len())
			}
		}
	}
}

func TestWriter_EstimatesTheSize(t *testing.T) {
	for _, compression := range []shipper.Compression{shipper.Plain, shipper.Gzip, shipper.Zstd} {
		var out bytes.Buffer
		w := jsonl.NewWriter(&out, compression, nil)
		r := rand.New(rand.NewPCG(2, 72))
		for i := range 50_000 {
			e := wal.Event{Data: fmt.Appendf(nil, `{"n":%d,"r":%d}`, i, r.IntN(1<<30))}
			with := w.SizeWith(&e)
			w.Add(&e)
			if got := w.Size(); compression == shipper.Plain && got != with {
				t.Fatalf("got size %d, announced %d", got, with)
			}
		}
		estimate := w.Size()
		w.Finish()
		if got := int64(out.Len()); estimate < got*9/10 || estimate > got*11/10 {
			t.Errorf("compression %q: estimated %d bytes, the object has %d", compression, estimate, got)
		}
	}
}

func decompress(t *testing.T, compression shipper.Compression, from io.Reader) string {
	t.Helper()
	switch compression {
	case shipper.Gzip:
		r, err := gzip.NewReader(from)
		if err != nil {
			t.Fatal(err)
		}
		from = r
	case shipper.Zstd:
		r, err := zstd.NewReader(from)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		from = r
	}
	all, err := io.ReadAll(from)
	if err != nil {
		t.Fatal(err)
	}
	return string(all)
}
