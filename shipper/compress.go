package shipper

import (
	"bytes"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// Compression is how a record's framed bytes are compressed: each record is one whole gzip member or
// zstd frame, so records that are joined, as Firehose joins them in an object, are one valid file.
type Compression string

// The compressions, at their fastest level.
const (
	Plain Compression = "" // none
	Gzip  Compression = "gzip"
	Zstd  Compression = "zstd"
)

// overhead returns the most bytes that compressing n bytes adds: what can't be compressed is stored in
// blocks with a few bytes around each (5 per 64 KiB in RFC 1952 and 1951, 3 per 128 KiB in RFC 8878), between
// a header and a trailer of at most 22 bytes. It is counted generously.
func (c Compression) overhead(n int) int {
	if c == Plain {
		return 0
	}
	return 64 + n>>11
}

// encoder is what both libraries' writers are.
type encoder interface {
	io.WriteCloser
	Reset(to io.Writer)
}

// encoders are kept between records: one costs some hundred KiB to make, and as many are in use as there
// are requests being framed. None of them has goroutines of its own.
var encoders = map[Compression]*sync.Pool{
	Gzip: {New: func() any { return must(gzip.NewWriterLevel(nil, gzip.BestSpeed)) }},
	Zstd: {New: func() any {
		return must(zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
			zstd.WithWindowSize(zstdWindow), zstd.WithLowerEncoderMem(true)))
	}},
}

// zstdWindow bounds an encoder's memory, and a reader's.
const zstdWindow = 1 << 20

// must is for options that are constants of this file.
func must[T encoder](e T, err error) T {
	if err != nil {
		panic(err)
	}
	return e
}

// compress returns src compressed, in bytes of its own. c is not Plain.
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

// ratio is how much smaller records have become of late: the last ten count for two thirds.
type ratio struct{ framed, compressed float64 }

func (r *ratio) add(framed, compressed int) {
	r.framed = r.framed*0.9 + float64(framed)
	r.compressed = r.compressed*0.9 + float64(compressed)
}

// value returns how many framed bytes there were for one that was sent; 0 when nothing was.
func (r *ratio) value() float64 {
	if r.compressed == 0 {
		return 0
	}
	return r.framed / r.compressed
}

// widen aims records at a compressed size: as far beyond AimRecord as they are known to shrink, less a
// tenth, but never over what must fit if a record does not shrink at all.
func (s *Shape) widen(by float64) {
	if s.Compression == Plain {
		return
	}
	s.AimRecord = int(min(float64(s.AimRecord)*max(by*0.9, 1), float64(s.framedMost())))
}

// framedMost returns the bytes that a record may have before it is compressed.
func (s *Shape) framedMost() int { return s.MaxRecord - s.Compression.overhead(s.MaxRecord) }
