//go:build unix

package h2guard

import (
	"io"
	"syscall"

	"google.golang.org/grpc/mem"
)

// readyReader reads from a connection into a buffer that it takes when there is something to read, so that
// connections that are silent hold none.
type readyReader struct {
	raw  syscall.RawConn
	pool mem.BufferPool
	size int
	buf  *[]byte
	n    int
	err  error
}

// newReadyReader returns nil for a connection that has no file descriptor.
func newReadyReader(conn any) *readyReader {
	c, ok := conn.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return nil
	}
	return &readyReader{raw: raw}
}

// read waits until there is something to read.
func (r *readyReader) read(size int, pool mem.BufferPool) (*[]byte, int, error) {
	r.size, r.pool = size, pool
	err := r.raw.Read(r.try)
	buf, n := r.buf, r.n
	r.buf, r.n, r.pool = nil, 0, nil
	if err == nil {
		err = r.err
	}
	if err == nil && n == 0 {
		err = io.EOF
	}
	if err != nil && buf != nil {
		pool.Put(buf)
		return nil, 0, err
	}
	return buf, n, err
}

// try reads once, and reports whether that is all: it is called again when the connection is ready.
func (r *readyReader) try(fd uintptr) bool {
	r.buf = r.pool.Get(r.size)
	for {
		if r.n, r.err = syscall.Read(int(fd), *r.buf); r.err != syscall.EINTR {
			break
		}
	}
	if r.err == nil {
		return true
	}
	r.n = 0
	r.pool.Put(r.buf)
	r.buf = nil
	return r.err != syscall.EAGAIN
}
