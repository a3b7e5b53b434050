// Package reread reads a file again before it is believed to be damaged: the disk may have returned wrong bytes once.
package reread

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"github.com/standpipe/standpipe/wal/internal/segment"
)

// readPauses are the pauses of Open after I/O errors. A disk that was reset, or a network that failed briefly, should
// be available again by then.
var readPauses = [...]time.Duration{100 * time.Millisecond, 400 * time.Millisecond, 1500 * time.Millisecond}

// Twice runs read, which reads a file from the beginning, until its result is certain: nil, wrong content in two
// reads, or an error that is still there after all readPauses. So nothing is set aside for an error that occurs in one
// read only.
func Twice(ctx context.Context, read func() error) error {
	wrong := 0
	for failures := 0; ; {
		err := read()
		switch {
		case err == nil || errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist):
			return err
		case segment.Damaged(err) || segment.Later(err):
			if wrong++; wrong == 2 {
				return err
			}
			continue
		case failures == len(readPauses):
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		case <-time.After(readPauses[failures]):
			failures++
		}
	}
}
