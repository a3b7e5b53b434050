//go:build unix

package descriptors

import "golang.org/x/sys/unix"

// Limit raises the process's limit of open file descriptors to its maximum and returns it.
func Limit() (limit int64, known bool) {
	var l unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &l) != nil {
		return 0, false
	}
	if l.Cur < l.Max {
		raised := l
		raised.Cur = l.Max
		if unix.Setrlimit(unix.RLIMIT_NOFILE, &raised) == nil {
			l = raised
		}
	}
	return int64(min(uint64(l.Cur), 1<<40)), true
}
