package pack

import (
	"bytes"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// Compression is how a record's framed bytes are compressed: each record is one whole gzip member or
// zstd frame, so joined records (Firehose joins them in an object) are one valid file.
type Compression string

// The compressions, at their fastest level.
const (
	Plain Compression = "" // none
	Gzip  Compression = "gzip"
	Zstd  Compression = "zstd"
)

// overhead returns the most bytes that compressing n bytes adds, rounded up generously. Incompressible bytes are stored in
// blocks with a few bytes around each (5 per 64 KiB in RFC 1952 and 1951, 3 per 128 KiB in RFC 8878), between a header
// and a trailer of at most 22 bytes.
func (c Compression) overhead(n int) int {
	return c.overheads(1, n)
}

// overheads returns the most bytes that compressing that many records of n bytes in all adds.
func (c Compression) overheads(records, n int) int {
	if c == Plain {
		return 0
	}
	return 64*records + n>>11
}

// encoder is the common interface of both libraries' writers.
type encoder interface {
	io.WriteCloser
	Reset(to io.Writer)
}

// encoders are kept between records: each takes some hundred KiB, and one is in use for each request that is being
// framed. None of them has goroutines of its own.
var encoders = map[Compression]*sync.Pool{
	Gzip: {New: func() any { return must(gzip.NewWriterLevel(nil, gzip.BestSpeed)) }},
	Zstd: {New: func() any {
		return must(zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
			zstd.WithWindowSize(zstdWindow), zstd.WithLowerEncoderMem(true)))
	}},
}

// zstdWindow bounds the memory of an encoder, and of a reader.
const zstdWindow = 1 << 20

// must panics on an error, which options that are constants of this file never cause.
func must[T encoder](e T, err error) T {
	if err != nil {
		panic(err)
	}
	return e
}

// compress returns src compressed, in newly allocated bytes. c is not Plain.
func (c Compression) compress(src []byte) []byte {
	out := bytes.NewBuffer(make([]byte, 0, len(src)/4+64))
	e := encoders[c].Get().(encoder)
	defer encoders[c].Put(e)
	e.Reset(out)
	// A bytes.Buffer takes everything, so neither can fail.
	_, _ = e.Write(src)
	_ = e.Close()
	return out.Bytes()
}

// Ratio is the compression ratio of recent records: the last ten count for two thirds.
type Ratio struct{ framed, compressed float64 }

// NewRatio returns a Ratio with a known value.
func NewRatio(value float64) Ratio { return Ratio{value, 1} }

// Add counts a record that was framed, compressed and sent.
func (r *Ratio) Add(framed, compressed int) {
	r.framed = r.framed*0.9 + float64(framed)
	r.compressed = r.compressed*0.9 + float64(compressed)
}

// Value returns the framed bytes for each sent byte; 0: nothing was sent.
func (r *Ratio) Value() float64 {
	if r.compressed == 0 {
		return 0
	}
	return r.framed / r.compressed
}
