package httpin

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/klauspost/compress/zstd"

	"github.com/standpipe/standpipe/agent/ingest/internal/intake"
)

const (
	// zstdWindow is the largest window that a sender may use: RFC 9659, November 2026.
	zstdWindow = 8 << 20
	// keptZstd is the size of a body up to which its decoder, which retains its window, is kept.
	keptZstd = 1 << 20
)

// decompressors are the decoders of a listener.
type decompressors struct {
	slots  chan *decompressor
	closed sync.Once
}

// decompressor decompresses one body at a time. Its decoders are made on first use.
type decompressor struct {
	gzip *gzip.Reader
	zstd *zstd.Decoder
}

func newDecompressors() *decompressors {
	u := &decompressors{slots: make(chan *decompressor, intake.DecompressSlots)}
	for range intake.DecompressSlots {
		u.slots <- &decompressor{}
	}
	return u
}

// close releases the decoders. No body may be in decompression.
func (u *decompressors) close() {
	u.closed.Do(func() {
		for range intake.DecompressSlots {
			(<-u.slots).dropZstd()
		}
	})
}

// codingOf returns the compression of a body: "gzip", "zstd" or "".
func codingOf(h http.Header) (string, *intake.Rejection) {
	values := h["Content-Encoding"]
	coding := strings.ToLower(strings.TrimSpace(strings.Join(values, ",")))
	switch coding {
	case "", "identity":
		return "", nil
	case "gzip", "x-gzip":
		return "gzip", nil
	case "zstd":
		return coding, nil
	}
	r := intake.Invalid("Content-Encoding %s is unknown; gzip, zstd and identity are allowed", intake.QuoteName(coding))
	r.Status = http.StatusUnsupportedMediaType
	return "", r
}

// decompress decompresses compressed into a body of at most limit bytes.
func (u *decompressors) decompress(ctx context.Context, coding string, compressed []byte, into *body, limit int) error {
	var slot *decompressor
	select {
	case slot = <-u.slots:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { u.slots <- slot }()
	from, err := slot.open(coding, bytes.NewReader(compressed))
	if err == nil {
		err = into.read(from, -1, limit)
	}
	if len(into.bytes) > keptZstd {
		slot.dropZstd()
	}
	if _, refused := errors.AsType[*intake.Rejection](err); err == nil || refused {
		return err
	}
	return intake.Invalid("the body of %d bytes is no whole %s: %v", len(compressed), coding, err)
}

func (u *decompressor) open(coding string, compressed io.Reader) (io.Reader, error) {
	if coding == "zstd" {
		return u.openZstd(compressed)
	}
	if u.gzip == nil {
		u.gzip = new(gzip.Reader)
	}
	return u.gzip, u.gzip.Reset(compressed)
}

func (u *decompressor) openZstd(compressed io.Reader) (io.Reader, error) {
	if u.zstd != nil {
		return u.zstd, u.zstd.Reset(compressed)
	}
	var err error
	u.zstd, err = zstd.NewReader(compressed, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(zstdWindow))
	return u.zstd, err
}

func (u *decompressor) dropZstd() {
	if u.zstd != nil {
		u.zstd.Close()
		u.zstd = nil
	}
}
