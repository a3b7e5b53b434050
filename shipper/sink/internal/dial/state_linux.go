package dial

import (
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// stateOf reads the state of a connection; ok is false for one that is closed.
func stateOf(c *net.TCPConn) (s state, ok bool) {
	control(c, func(fd int) {
		info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
		if err != nil {
			return
		}
		ok = true
		s = state{
			unacked: int(info.Unacked) + int(info.Notsent_bytes),
			acked:   int64(info.Bytes_acked),
			trip:    time.Duration(info.Rtt+4*info.Rttvar) * time.Microsecond,
			silence: time.Duration(min(info.Last_ack_recv, info.Last_data_recv)) * time.Millisecond,
		}
	})
	return s, ok
}

// queued returns the number of bytes that the peer has not acknowledged, or that were not sent.
func queued(c *net.TCPConn) (n int) {
	control(c, func(fd int) { n, _ = unix.IoctlGetInt(fd, unix.SIOCOUTQ) })
	return n
}

func setUserTimeout(c *net.TCPConn, d time.Duration) {
	control(c, func(fd int) {
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(d.Milliseconds()))
	})
}

func control(c *net.TCPConn, f func(fd int)) {
	raw, err := c.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) { f(int(fd)) })
}
