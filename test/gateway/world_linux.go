package gateway

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/standpipe/standpipe/test/testkit"
)

// The addresses in the two namespaces of each world.
const (
	AgentAddress   = "10.77.0.1"
	ServiceAddress = "10.77.0.2"
)

// World is two hosts with a link between them: the agent's and the service's.
type World struct {
	Agent, Service *Host
	Link           *Link
}

// Open makes a world, which ends with the test.
func Open(t testing.TB, q Quality) *World {
	t.Helper()
	w := &World{}
	var ends [2]*os.File
	for i, address := range []string{AgentAddress, ServiceAddress} {
		h := newHost()
		t.Cleanup(h.close)
		var err error
		h.Do(func() { ends[i], err = isolate(address) })
		switch {
		case errors.Is(err, unix.EPERM), errors.Is(err, unix.ENOENT), errors.Is(err, unix.EACCES), errors.Is(err, unix.ENODEV):
			testkit.NotTested(t, "a link between network namespaces (root and /dev/net/tun)", err)
			t.SkipNow()
		case err != nil:
			t.Fatal(err)
		}
		if i == 0 {
			w.Agent = h
		} else {
			w.Service = h
		}
	}
	w.Link = newLink(q, ends[0], ends[1])
	t.Cleanup(w.Link.close)
	return w
}

// Host is a network namespace. It lives as long as its thread.
type Host struct{ work chan func() }

func newHost() *Host {
	h := &Host{work: make(chan func())}
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		for f := range h.work {
			f()
		}
	}()
	return h
}

// Do runs f on the thread of the host, and returns when f has. Sockets that f opens, and processes that it starts, are in
// the host's namespace for their life.
func (h *Host) Do(f func()) {
	done := make(chan struct{})
	h.work <- func() {
		defer close(done)
		f()
	}
	<-done
}

// Go runs f on another thread of the host.
func (h *Host) Go(f func()) {
	var own int
	var err error
	h.Do(func() { own, err = unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0) })
	entered := make(chan struct{})
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		if err == nil {
			err = unix.Setns(own, unix.CLONE_NEWNET)
			unix.Close(own)
		}
		close(entered)
		if err == nil {
			f()
		}
	}()
	<-entered
	if err != nil {
		panic(fmt.Sprintf("enter the network of a host: %v", err))
	}
}

// Dial connects from the host to a numeric address.
func (h *Host) Dial(address string) (c net.Conn, err error) {
	h.Do(func() { c, err = net.Dial("tcp", address) })
	return c, err
}

// Listen listens on the host at a numeric address.
func (h *Host) Listen(address string) (l net.Listener, err error) {
	h.Do(func() { l, err = net.Listen("tcp", address) })
	return l, err
}

func (h *Host) close() { close(h.work) }

// isolate gives the calling thread a network of its own: loopback, and a device with the address whose packets the
// returned file reads and writes.
func isolate(address string) (*os.File, error) {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return nil, fmt.Errorf("unshare network: %w", err)
	}
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open /dev/net/tun: %w", err)
	}
	device, err := unix.NewIfreq("radio0")
	if err == nil {
		device.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, device)
	}
	if err == nil {
		err = configure(address)
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), "radio0"), nil
}

// configure gives radio0 its address, and takes it and loopback up.
func configure(address string) error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	for _, set := range []struct {
		device  string
		request uint
		value   any
	}{
		{"radio0", unix.SIOCSIFADDR, netip.MustParseAddr(address).AsSlice()},
		{"radio0", unix.SIOCSIFNETMASK, netip.MustParseAddr("255.255.255.0").AsSlice()},
		{"radio0", unix.SIOCSIFFLAGS, uint16(unix.IFF_UP | unix.IFF_RUNNING)},
		{"lo", unix.SIOCSIFFLAGS, uint16(unix.IFF_UP | unix.IFF_RUNNING)},
	} {
		r, err := unix.NewIfreq(set.device)
		if err != nil {
			return err
		}
		switch v := set.value.(type) {
		case []byte:
			if err := r.SetInet4Addr(v); err != nil {
				return err
			}
		case uint16:
			r.SetUint16(v)
		}
		if err := unix.IoctlIfreq(s, set.request, r); err != nil {
			return fmt.Errorf("configure %s: %w", set.device, err)
		}
	}
	return nil
}

// AddDefaultRoute adds a default route over the agent's network device.
func (h *Host) AddDefaultRoute() (err error) {
	h.Do(func() {
		device, failed := net.InterfaceByName("radio0")
		if failed != nil {
			err = failed
			return
		}
		const header, attribute = unix.SizeofNlMsghdr, unix.SizeofRtAttr + 4
		m := make([]byte, header+unix.SizeofRtMsg+attribute)
		*(*unix.NlMsghdr)(unsafe.Pointer(&m[0])) = unix.NlMsghdr{
			Len: uint32(len(m)), Type: unix.RTM_NEWROUTE, Flags: unix.NLM_F_REQUEST | unix.NLM_F_CREATE | unix.NLM_F_REPLACE,
		}
		*(*unix.RtMsg)(unsafe.Pointer(&m[header])) = unix.RtMsg{
			Family: unix.AF_INET, Table: unix.RT_TABLE_MAIN, Protocol: unix.RTPROT_STATIC, Scope: unix.RT_SCOPE_LINK, Type: unix.RTN_UNICAST,
		}
		*(*unix.RtAttr)(unsafe.Pointer(&m[header+unix.SizeofRtMsg])) = unix.RtAttr{Len: attribute, Type: unix.RTA_OIF}
		*(*uint32)(unsafe.Pointer(&m[len(m)-4])) = uint32(device.Index)
		s, failed := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
		if failed != nil {
			err = failed
			return
		}
		defer unix.Close(s)
		err = unix.Sendto(s, m, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
	})
	return err
}

// SetDevice takes the agent's network device up or down, as a modem's driver does: the kernel notifies programs of it.
func (h *Host) SetDevice(up bool) (err error) {
	h.Do(func() {
		s, failed := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if failed != nil {
			err = failed
			return
		}
		defer unix.Close(s)
		r, failed := unix.NewIfreq("radio0")
		if failed != nil {
			err = failed
			return
		}
		if up {
			r.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
		}
		err = unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, r)
	})
	return err
}
