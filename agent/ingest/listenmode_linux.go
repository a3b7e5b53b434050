package ingest

import (
	"os"
	"syscall"
)

// narrow gives the file that bind is about to make for a unix socket no more than mode. Linux makes it with the mode
// of the socket less the umask (unix_bind_bsd, net/unix/af_unix.c), so there is no moment at which it is wider.
func narrow(mode os.FileMode) func(network, address string, c syscall.RawConn) error {
	return func(_, _ string, c syscall.RawConn) (err error) {
		if fault := c.Control(func(fd uintptr) { err = syscall.Fchmod(int(fd), uint32(mode.Perm())) }); fault != nil {
			return fault
		}
		return os.NewSyscallError("fchmod", err)
	}
}
