package dial

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// Timeout bounds the opening of a connection, with the look-up of the name.
	Timeout = 10 * time.Second
	// lookupTimeout bounds the look-up of a name whose last address is known.
	lookupTimeout = 2 * time.Second
	// userTimeout bounds the time for which the kernel repeats bytes that no peer acknowledges.
	userTimeout = 30 * time.Second
	// maxNames bounds the names with a known address.
	maxNames = 64
)

// idleProbes finds dead connections that are not in use. It is seldom enough not to keep a radio awake.
var idleProbes = net.KeepAliveConfig{Enable: true, Idle: 30 * time.Second, Interval: 5 * time.Second, Count: 3}

// Dialer opens the connections of one client. Its zero value is ready. Its methods may be called from any goroutine.
type Dialer struct {
	alive atomic.Int64 // when a peer of any connection last answered, since epoch

	mu    sync.Mutex
	known map[string]netip.Addr // the last address of a host; guarded by mu
}

// DialContext connects to a TCP address.
func (d *Dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	defer process.dialing(&cancel)()
	tcp, err := d.connect(ctx, network, address)
	if err != nil {
		return nil, err
	}
	tcp.SetKeepAliveConfig(idleProbes)
	setUserTimeout(tcp, userTimeout)
	c := newConn(d, tcp)
	process.add(c)
	if err := ctx.Err(); err != nil { // Abandon has ended the dial before it could see c
		c.Close()
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	return c, nil
}

// connect opens a connection. A name is looked up first; if that takes too long or fails, the name's last address is used.
func (d *Dialer) connect(ctx context.Context, network, address string) (*net.TCPConn, error) {
	dialer := net.Dialer{KeepAlive: -1} // set by DialContext
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	last, known := d.lastOf(host)
	if !known {
		c, err := dialer.DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		if _, err := netip.ParseAddr(host); err != nil {
			d.remember(host, c.RemoteAddr())
		}
		return c.(*net.TCPConn), nil
	}
	addresses, err := lookUp(ctx, host, last)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	for i, a := range addresses {
		attempt, cancel := ctx, context.CancelFunc(func() {})
		if left, bounded := ctx.Deadline(); bounded {
			attempt, cancel = context.WithTimeout(ctx, time.Until(left)/time.Duration(len(addresses)-i))
		}
		var c net.Conn
		c, err = dialer.DialContext(attempt, network, net.JoinHostPort(a.String(), port))
		cancel()
		if err == nil {
			d.remember(host, c.RemoteAddr())
			return c.(*net.TCPConn), nil
		}
	}
	return nil, err
}

// lookUp returns the addresses of a host, the last used one first. If the look-up fails for another reason than that the
// host does not exist, that is the only one.
func lookUp(ctx context.Context, host string, last netip.Addr) ([]netip.Addr, error) {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	addresses, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		return nil, err
	case err != nil || len(addresses) == 0:
		return []netip.Addr{last}, nil
	}
	for i := range addresses {
		addresses[i] = addresses[i].Unmap()
	}
	if i := slices.Index(addresses, last); i > 0 {
		addresses[0], addresses[i] = addresses[i], addresses[0]
	}
	return addresses, nil
}

func (d *Dialer) lastOf(host string) (netip.Addr, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	a, known := d.known[host]
	return a, known
}

func (d *Dialer) remember(host string, remote net.Addr) {
	tcp, ok := remote.(*net.TCPAddr)
	if !ok {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.known == nil || len(d.known) >= maxNames {
		d.known = make(map[string]netip.Addr)
	}
	d.known[host] = tcp.AddrPort().Addr().Unmap()
}

// epoch is the origin of times that are kept in an atomic integer.
var epoch = time.Now()

func sinceEpoch() int64 { return int64(time.Since(epoch)) }
