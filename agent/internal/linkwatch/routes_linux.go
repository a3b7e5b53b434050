package linkwatch

import (
	"fmt"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// defaultRoutes returns the default routes of this host. Each is its family, its interface and its gateway.
func defaultRoutes() (map[string]bool, error) {
	table, err := syscall.NetlinkRIB(unix.RTM_GETROUTE, unix.AF_UNSPEC)
	if err != nil {
		return nil, fmt.Errorf("read routes: %w", err)
	}
	messages, err := syscall.ParseNetlinkMessage(table)
	if err != nil {
		return nil, fmt.Errorf("parse routes: %w", err)
	}
	all := make(map[string]bool)
	for i := range messages {
		m := &messages[i]
		if m.Header.Type != unix.RTM_NEWROUTE || len(m.Data) < unix.SizeofRtMsg {
			continue
		}
		route := (*unix.RtMsg)(unsafe.Pointer(unsafe.SliceData(m.Data)))
		if route.Dst_len != 0 || route.Type != unix.RTN_UNICAST {
			continue
		}
		attributes, err := syscall.ParseNetlinkRouteAttr(m)
		if err != nil {
			return nil, fmt.Errorf("parse route: %w", err)
		}
		way := fmt.Sprint(route.Family)
		for _, a := range attributes {
			switch a.Attr.Type {
			case unix.RTA_GATEWAY, unix.RTA_OIF, unix.RTA_VIA:
				way += fmt.Sprintf(" %d=%x", a.Attr.Type, a.Value)
			}
		}
		all[way] = true
	}
	return all, nil
}
