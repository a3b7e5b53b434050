package file_test

import (
	"syscall"
	"testing"

	"github.com/standpipe/standpipe/shipper/sink/sinktest"
)

func TestConformance(t *testing.T) {
	sinktest.Run(t, func(t *testing.T) sinktest.Target {
		dir := t.TempDir()
		f := open(t, options(dir))
		once := func(call string, err error) func() {
			return func() { failNext(f, call, err, 1) }
		}
		return sinktest.Target{
			Sink: f,
			Stored: func() []byte {
				f.Close()
				return readAll(t, dir)
			},
			Atomic:      true,
			Local:       true,
			FailRequest: []func(){once("sync", syscall.EIO), once("sync", syscall.ENOSPC), once("write", syscall.ENOSPC)},
		}
	})
}
