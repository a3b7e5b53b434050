package grpcin

import (
	"bytes"
	"io"
	"testing"
	"testing/synctest"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/gzip"

	"github.com/standpipe/standpipe/agent/ingest/internal/intake"
)

// packed returns data compressed by c.
func packed(t *testing.T, c encoding.Compressor, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := c.Compress(&b)
	if err != nil {
		t.Fatal(err)
	}
	w.Write(data)
	w.Close()
	return b.Bytes()
}

// TestGzip_DecompressesTwoMessagesAtATime, and one that is none keeps no slot.
func TestGzip_DecompressesTwoMessagesAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGzipSlots(encoding.GetCompressor(gzip.Name).(*gzipSlots).Compressor)
		message := packed(t, g, make([]byte, 1<<20))
		open := make(chan io.Reader, 5)
		for range cap(open) {
			go func() {
				r, err := g.Decompress(bytes.NewReader(message))
				if err != nil {
					t.Error(err)
				}
				open <- r
			}()
		}
		for left := cap(open); left > 0; left-- {
			synctest.Wait()
			if got, want := len(open), min(left, intake.DecompressSlots); got != want {
				t.Errorf("%d are unpacked at once, want %d", got, want)
			}
			r := <-open
			if n, err := io.Copy(io.Discard, r); n != 1<<20 || err != nil {
				t.Errorf("got %d bytes, %v", n, err)
			}
			r.(io.Closer).Close()
		}
		for range intake.DecompressSlots + 1 {
			if _, err := g.Decompress(bytes.NewReader([]byte("no gzip"))); err == nil {
				t.Error("no error")
			}
		}
	})
}
