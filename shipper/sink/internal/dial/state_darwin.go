package dial

import (
	"net"
	"time"

	"golang.org/x/sys/unix"
)

func queued(*net.TCPConn) int { return 0 }

func stateOf(*net.TCPConn) (state, bool) { return state{}, false }

func setUserTimeout(c *net.TCPConn, d time.Duration) {
	raw, err := c.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_RXT_CONNDROPTIME, int(d.Seconds()))
	})
}
