//go:build !unix

package h2guard

import (
	"errors"

	"google.golang.org/grpc/mem"
)

// readyReader is for systems that can report that a connection has data to read. On other systems a silent
// connection holds the buffer that it reads into.
type readyReader struct{}

func newReadyReader(any) *readyReader { return nil }

func (*readyReader) read(int, mem.BufferPool) (*[]byte, int, error) {
	return nil, 0, errors.ErrUnsupported
}
