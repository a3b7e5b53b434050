package grpcin

import (
	"io"
	"sync"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/gzip"

	"github.com/standpipe/standpipe/agent/ingest/internal/budget"
	"github.com/standpipe/standpipe/agent/ingest/internal/intake"
)

// gzipSlots decompresses at most as many messages at once as it has slots. gRPC would decompress each message as it
// arrives, and 16 KiB may become MaxRequestSize: a thousand of them would be gigabytes before any is checked. Waiting
// messages are compressed and have a budget of their own.
type gzipSlots struct {
	encoding.Compressor
	slots  chan struct{}  // one for each message in decompression
	budget *budget.Budget // bytes of compressed messages
}

// gRPC has one compressor of a name for the process.
func init() { encoding.RegisterCompressor(newGzipSlots(encoding.GetCompressor(gzip.Name))) }

func newGzipSlots(c encoding.Compressor) *gzipSlots {
	g := &gzipSlots{Compressor: c, slots: make(chan struct{}, intake.DecompressSlots), budget: budget.New(intake.MinBudget)}
	return g
}

// Decompress waits for a slot. gRPC closes the returned reader once the message is decompressed or rejected.
func (g *gzipSlots) Decompress(compressed io.Reader) (io.Reader, error) {
	size := int64(0)
	if p, ok := compressed.(interface{ Remaining() int }); ok && p.Remaining() > freeInflow {
		size = int64(p.Remaining())
	}
	if !g.budget.Acquire(size) {
		return nil, intake.ErrOverBudget
	}
	g.slots <- struct{}{}
	free := func() {
		<-g.slots
		g.budget.Release(size)
	}
	from, err := g.Compressor.Decompress(compressed)
	if err != nil {
		free()
		return nil, err
	}
	return &decompression{Reader: from, free: free}, nil
}

// decompression is a message in decompression.
type decompression struct {
	io.Reader
	free func()
	once sync.Once
}

func (u *decompression) Close() (err error) {
	u.once.Do(func() {
		if c, ok := u.Reader.(io.Closer); ok {
			err = c.Close()
		}
		u.free()
	})
	return err
}
