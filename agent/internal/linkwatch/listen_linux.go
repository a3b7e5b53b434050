package linkwatch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// settle is the time after a notification of the kernel before look is called: several come together.
const settle = 100 * time.Millisecond

// listen calls look once it listens to the kernel, and after each group of notifications about interfaces, addresses and
// routes, until ctx ends.
func listen(ctx context.Context, look func() error) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("open netlink: %w", err)
	}
	socket := os.NewFile(uintptr(fd), "netlink")
	defer socket.Close()
	groups := uint32(unix.RTMGRP_LINK | unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_IPV6_IFADDR | unix.RTMGRP_IPV4_ROUTE | unix.RTMGRP_IPV6_ROUTE)
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
		return fmt.Errorf("bind netlink: %w", err)
	}
	defer context.AfterFunc(ctx, func() { socket.Close() })()
	buffer := make([]byte, 64<<10)
	for {
		if err := look(); err != nil {
			return err
		}
		// A full buffer of the kernel is an error too: changes were lost, so the addresses are read.
		if _, err := socket.Read(buffer); err != nil && !errors.Is(err, unix.ENOBUFS) {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("read netlink: %w", err)
		}
		select {
		case <-time.After(settle):
		case <-ctx.Done():
			return nil
		}
	}
}
