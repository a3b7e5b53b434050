package s3_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/sink"
	"github.com/standpipe/standpipe/shipper/sink/s3"
	"github.com/standpipe/standpipe/wal"
)

// The memory does not depend on the size of the object. STANDPIPE_S3_OBJECT is the size in MiB, STANDPIPE_S3_ROW_GROUP that of
// the row groups.
func TestMemory_IsAPartAndTheEncoder(t *testing.T) {
	if testing.Short() {
		t.Skip("-short leaves out large objects")
	}
	size, group := mebibytes("STANDPIPE_S3_OBJECT", 200), mebibytes("STANDPIPE_S3_ROW_GROUP", 32)<<20
	for name, change := range map[string]func(*s3.Options){
		"lines":   func(*s3.Options) {},
		"gzip":    func(o *s3.Options) { o.Compression = shipper.Gzip },
		"zstd":    func(o *s3.Options) { o.Compression = shipper.Zstd },
		"parquet": func(o *s3.Options) { o.Format, o.Compression, o.RowGroupSize = s3.Parquet, shipper.Zstd, group },
	} {
		t.Run(name, func(t *testing.T) {
			var sent, most atomic.Int64
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				n, _ := io.Copy(io.Discard, r.Body)
				sent.Add(n)
				most.Store(max(most.Load(), heap())) // one request at a time
				w.Header().Set("ETag", `"tag"`)
				if r.URL.Query().Has("uploads") {
					fmt.Fprint(w, "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>")
				} else if r.Method == http.MethodPost {
					fmt.Fprint(w, "<CompleteMultipartUploadResult><ETag>tag</ETag></CompleteMultipartUploadResult>")
				}
			}))
			defer srv.Close()
			o := s3.Options{Bucket: "events", Stream: "orders", LogID: "LOG", RollSize: size << 20, Bytes: true,
				AWS: sink.AWS{Endpoint: srv.URL, Credentials: credentials.NewStaticCredentialsProvider("A", "s", "")}}
			change(&o)
			s, err := s3.New(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			before := heap()
			random := make([]byte, 1<<20)
			rand.NewChaCha8([32]byte{}).Read(random)
			for i := uint64(1); ; {
				some := make([]wal.Event, 500)
				for j := range some {
					some[j] = wal.Event{Offset: i + uint64(j), Key: fmt.Sprint("k", i%100), Data: random[(i+uint64(j))*7919%(1<<20-1024):][:1000]}
				}
				n, err := s.Add(t.Context(), some)
				if err != nil {
					t.Fatal(err)
				}
				i += uint64(n)
				if n < len(some) || i > uint64(size)<<11 { // a Parquet object may stay smaller
					break
				}
			}
			s.Seal()
			if _, err := s.Commit(t.Context()); err != nil {
				t.Fatal(err)
			}
			grown := max(most.Load()-before, 0)
			t.Logf("%d MiB sent, the heap grew by %.1f MiB", sent.Load()>>20, float64(grown)/(1<<20))
			limit := int64(32 << 20)
			if o.Format == s3.Parquet {
				limit += o.RowGroupSize
			}
			if grown > limit {
				t.Errorf("the heap grew by %d bytes, want at most %d", grown, limit)
			}
		})
	}
}

// mebibytes returns the number in a variable of the environment, or otherwise.
func mebibytes(name string, otherwise int64) int64 {
	if set, err := strconv.ParseInt(os.Getenv(name), 10, 32); err == nil {
		return set
	}
	return otherwise
}

// heap returns the bytes of live objects.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
