package access

import (
	"net"
	"unsafe"

	"golang.org/x/sys/unix"
)

// PeerOf returns the process at the other end of a unix socket, from the kernel. nil: not a unix socket, or unknown.
func PeerOf(conn net.Conn) *Peer {
	c, ok := conn.(*net.UnixConn)
	if !ok {
		return nil
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return nil
	}
	var peer *Peer
	raw.Control(func(fd uintptr) {
		if cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			peer = &Peer{UID: cred.Uid, GID: cred.Gid, Groups: groupsOf(fd)}
		}
	})
	return peer
}

// groupsOf returns the supplementary groups of the process at the other end. Kernels before 4.13 do not have SO_PEERGROUPS;
// it returns none then.
func groupsOf(fd uintptr) []uint32 {
	groups := make([]uint32, 32)
	for {
		size := uint32(len(groups) * 4)
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, fd, unix.SOL_SOCKET, unix.SO_PEERGROUPS,
			uintptr(unsafe.Pointer(unsafe.SliceData(groups))), uintptr(unsafe.Pointer(&size)), 0)
		switch {
		case errno == 0:
			return groups[:size/4]
		case errno != unix.ERANGE || int(size/4) <= len(groups):
			return nil
		}
		groups = make([]uint32, size/4) // the kernel has returned the needed size
	}
}
