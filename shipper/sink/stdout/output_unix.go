//go:build unix

package stdout

import (
	"io"
	"os"
	"syscall"
)

// standardOutput returns standard output under another descriptor. After a write to a broken pipe at descriptor 1, the Go
// runtime ends the process with SIGPIPE.
func standardOutput() io.Writer {
	fd, err := syscall.Dup(1)
	if err != nil {
		return os.Stdout
	}
	syscall.CloseOnExec(fd)
	return os.NewFile(uintptr(fd), "/dev/stdout")
}
