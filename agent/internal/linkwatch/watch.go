// Package linkwatch watches the network addresses of this host: those of interfaces that are up and running, without loopback
// and link-local ones; and its default routes. On Linux the kernel sends each change over netlink. Elsewhere nothing is watched.
//
// An interface that appears without an address, as each container's does, is no change.
package linkwatch

import (
	"context"
	"net"
	"net/netip"
)

// Change is a change of the addresses, or of the default routes.
type Change struct {
	Gone, Come []netip.Addr
	Route      bool // a default route has come
}

// Addresses returns the present addresses.
func Addresses() (map[netip.Addr]bool, error) {
	interfaces, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	all := make(map[netip.Addr]bool)
	for _, i := range interfaces {
		const usable = net.FlagUp | net.FlagRunning
		if i.Flags&usable != usable || i.Flags&net.FlagLoopback != 0 {
			continue
		}
		addresses, err := i.Addrs()
		if err != nil {
			continue // the interface has just gone
		}
		for _, a := range addresses {
			prefix, err := netip.ParsePrefix(a.String())
			if err == nil && !prefix.Addr().IsLinkLocalUnicast() {
				all[prefix.Addr().Unmap()] = true
			}
		}
	}
	return all, nil
}

// Run calls changed for each change until ctx ends. An error means that nothing is watched.
func Run(ctx context.Context, changed func(Change)) error {
	var before map[netip.Addr]bool
	var routesBefore map[string]bool
	return listen(ctx, func() error {
		now, err := Addresses()
		if err != nil {
			return err
		}
		routes, err := defaultRoutes()
		if err != nil {
			return err
		}
		c := Difference(before, now)
		for r := range routes {
			c.Route = c.Route || !routesBefore[r]
		}
		if before != nil && (len(c.Gone)+len(c.Come) > 0 || c.Route) {
			changed(c)
		}
		before, routesBefore = now, routes
		return nil
	})
}

// Difference returns the change between two sets of addresses.
func Difference(before, now map[netip.Addr]bool) (c Change) {
	for a := range before {
		if !now[a] {
			c.Gone = append(c.Gone, a)
		}
	}
	for a := range now {
		if !before[a] {
			c.Come = append(c.Come, a)
		}
	}
	return c
}
