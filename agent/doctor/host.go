package doctor

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/standpipe/standpipe/agent"
	"github.com/standpipe/standpipe/agent/config"
	"github.com/standpipe/standpipe/agent/internal/descriptors"
	"github.com/standpipe/standpipe/wal/inspect"
)

func (p *patient) configuration(context.Context) Check {
	if warnings := p.conf.Warnings(); len(warnings) > 0 {
		return warn("standpipe validate shows all warnings", "%s, the first: %s", count(len(warnings), "warning"), warnings[0])
	}
	return ok("%s, %s", count(len(p.conf.Streams), "stream"), count(len(p.conf.Listeners), "listener"))
}

// count returns a number and its noun.
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// existing returns the folder itself or the nearest one above it that exists.
func existing(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	for {
		info, err := os.Stat(dir)
		switch {
		case err == nil && !info.IsDir():
			return "", fmt.Errorf("%s is a file, not a folder", dir)
		case err == nil:
			return dir, nil
		case errors.Is(err, fs.ErrPermission):
			return "", err
		}
		dir = filepath.Dir(dir)
	}
}

// writable writes a file into the folder, or into the nearest one above it that exists, and removes it.
func writable(dir string) (there string, err error) {
	if there, err = existing(dir); err != nil {
		return "", err
	}
	f, err := os.CreateTemp(there, ".standpipe-doctor-*")
	if err != nil {
		return there, err
	}
	_, err = f.Write([]byte("x"))
	return there, errors.Join(err, f.Close(), os.Remove(f.Name()))
}

const ownFolder = "make the folder writable for the user of the agent (chown), or set another one"

func (p *patient) dataDir(context.Context) Check {
	there, err := writable(p.conf.DataDir)
	if err != nil {
		return fail(ownFolder, "%s: %v", p.conf.DataDir, err)
	}
	v, err := inspect.Volume(there)
	if err != nil {
		return fail("look at the disk of the folder", "%s: %v", there, err)
	}
	state := "writable"
	if absolute, err := filepath.Abs(p.conf.DataDir); err == nil && there != absolute {
		state = "to be created in " + there
	}
	switch v.Kind {
	case "":
		return ok("%s: %s", p.conf.DataDir, state)
	case "tmpfs", "ramfs", "overlay":
		return fail("set data_dir to a folder on a disk", "%s is on %s: a restart of the host or of the container deletes the events", p.conf.DataDir, v.Kind)
	}
	return warn("set data_dir to a folder on a local disk", "%s is on %s, which may hang or lose synced events", p.conf.DataDir, v.Kind)
}

func (p *patient) space(context.Context) Check {
	there, err := existing(p.conf.DataDir)
	if err != nil {
		return skip("see data_dir", "%v", err)
	}
	v, err := inspect.Volume(there)
	if err != nil {
		return fail("look at the disk of data_dir", "%v", err)
	}
	used := int64(0)
	_ = filepath.WalkDir(p.conf.DataDir, func(_ string, e fs.DirEntry, err error) error { // no folder: nothing is used
		if err != nil {
			return nil
		}
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() {
			used += info.Size()
		}
		return nil
	})
	left := p.conf.WAL.MinFree.Of(v.Size)
	need := p.conf.WAL.MaxSize - used + left
	text := fmt.Sprintf("%s free, max_size %s", size(v.Free), size(p.conf.WAL.MaxSize))
	if left > 0 {
		text += ", min_free " + size(left)
	}
	switch {
	case v.Free <= left:
		return fail("free some space of the file system, or lower min_free", "%s: no event is accepted", text)
	case v.Free < need:
		return warn("set max_size to "+size(max(v.Free-left+used, 0))+" or less, or free some space", "%s: the disk is full before the log", text)
	}
	return ok("%s", text)
}

// size formats bytes in the largest unit that leaves one digit before the point.
func size(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	f, i := float64(n), 0
	for ; f >= 1024 && i < len(units)-1; i++ {
		f /= 1024
	}
	if i == 0 || f >= 100 {
		return fmt.Sprintf("%.0f %s", f, units[i])
	}
	return fmt.Sprintf("%.1f %s", f, units[i])
}

const (
	syncs    = 16
	slowSync = 50 * time.Millisecond
)

// syncTime measures the sync that each commit of the log waits for.
func (p *patient) syncTime(ctx context.Context) Check {
	there, err := existing(p.conf.DataDir)
	if err != nil {
		return skip("see data_dir", "%v", err)
	}
	f, err := os.CreateTemp(there, ".standpipe-doctor-*")
	if err != nil {
		return skip("see data_dir", "%v", err)
	}
	defer os.Remove(f.Name())
	defer f.Close()
	var times []time.Duration
	for i := range int64(syncs) {
		begin := time.Now()
		_, err := f.WriteAt(make([]byte, 4096), i*4096)
		if err == nil {
			err = f.Sync()
		}
		if err != nil {
			return fail("look at the disk of data_dir: a failed sync ends the agent", "%v", err)
		}
		if times = append(times, time.Since(begin)); ctx.Err() != nil {
			break
		}
	}
	slices.Sort(times)
	median := times[len(times)/2]
	text := fmt.Sprintf("median %v, slowest %v of %d", median.Round(time.Microsecond*10), times[len(times)-1].Round(time.Microsecond*10), len(times))
	if median > slowSync {
		return warn("producers wait that long for each ack; use a faster disk, or fewer and larger requests", "%s", text)
	}
	return ok("%s", text)
}

func (p *patient) descriptors(context.Context) Check {
	limit, needed, known := descriptors.Needed(p.conf)
	switch {
	case !known:
		return skip("no remedy is needed", "no limit is known on this system")
	case limit < needed:
		return warn(fmt.Sprintf("set ulimit -n %d, or LimitNOFILE= of the unit", needed), "the limit is %d, and %d may be needed: fewer connections are accepted", limit, needed)
	}
	return ok("the limit is %d, and at most %d are needed", limit, needed)
}

// soon is the time before the end of a certificate at which it is a warning.
const soon = 14 * 24 * time.Hour

func (p *patient) files(context.Context) Check {
	if faults := agent.CheckFiles(p.conf, hclog.NewNullLogger()); len(faults) > 0 {
		return fail("standpipe validate --files shows all of them", "%s cannot be used, the first: %s", count(len(faults), "file"), faults[0])
	}
	names := p.certificates()
	for _, name := range names {
		end, err := endOf(name)
		switch {
		case err != nil:
			return fail("correct the path, or the rights of the file", "%v", err)
		case p.now().After(end):
			return fail("renew the certificate", "%s has expired at %s", name, end.Format(time.RFC3339))
		case p.now().Add(soon).After(end):
			return warn("renew the certificate", "%s expires at %s", name, end.Format(time.RFC3339))
		}
	}
	return ok("%s, and all token files", count(len(names), "certificate"))
}

// certificates returns the files of the certificates that the agent presents.
func (p *patient) certificates() (names []string) {
	note := func(name string) {
		if name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	listener := func(t *config.TLS) {
		if t != nil {
			note(t.CertFile)
		}
	}
	listener(p.conf.Admin.TLS)
	for _, l := range p.conf.Listeners {
		listener(l.TLS)
	}
	for _, s := range p.conf.Streams {
		for _, d := range s.Destinations {
			note(d.Kafka.TLS.CertFile)
			note(d.Relay.TLS.CertFile)
		}
	}
	return names
}

// endOf returns the end of the first certificate in a PEM file.
func endOf(name string) (time.Time, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return time.Time{}, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return time.Time{}, fmt.Errorf("%s has no PEM block in its %d bytes", name, len(text))
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return time.Time{}, fmt.Errorf("%s: %w", name, err)
	}
	return c.NotAfter, nil
}

const (
	clockWrong = 5 * time.Minute // AWS rejects signatures from then on
	clockOdd   = 30 * time.Second
)

// clock compares the clock with the Date header of a service that the agent sends to.
func (p *patient) clock(ctx context.Context) Check {
	url := p.service()
	if url == "" {
		return skip("no remedy is needed", "no destination at AWS, whose signatures need the right time")
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodHead, url, nil)
	if err != nil {
		return skip("correct the endpoint", "%v", err)
	}
	c := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := c.Do(request)
	if err != nil {
		return skip("see the destination", "no response from %s", url)
	}
	response.Body.Close()
	theirs, err := http.ParseTime(response.Header.Get("Date"))
	if err != nil {
		return skip("no remedy is needed", "the response of %s has no date", url)
	}
	off := p.now().Sub(theirs).Round(time.Second)
	const set = "set the clock, and keep it with NTP (timedatectl set-ntp true)"
	switch {
	case off.Abs() >= clockWrong:
		return fail(set, "%v off by the date of %s: AWS rejects the agent's signatures", off, url)
	case off.Abs() >= clockOdd:
		return warn(set, "%v off by the date of %s", off, url)
	}
	return ok("within %v of %s", max(off.Abs(), time.Second), url)
}

// service returns a URL of AWS that a destination sends to, or "".
func (p *patient) service() string {
	for _, s := range p.conf.Streams {
		for _, d := range s.Destinations {
			if !slices.Contains([]string{"kinesis", "firehose", "s3", "sqs"}, d.Type) {
				continue
			}
			if d.AWS.Endpoint != "" {
				return d.AWS.Endpoint
			}
			if d.AWS.Region != "" && d.Type != "s3" {
				return "https://" + d.Type + "." + d.AWS.Region + ".amazonaws.com/"
			}
		}
	}
	return ""
}

// addresses returns a check for each listener.
func (p *patient) addresses() (list []check) {
	add := func(name, network, address string) {
		list = append(list, check{name, func(ctx context.Context) Check { return p.address(ctx, network, address) }})
	}
	for _, l := range p.conf.Listeners {
		add("listener "+l.Type, l.Network, l.Address)
	}
	add("admin", p.conf.Admin.Network, p.conf.Admin.Address)
	return list
}

func (p *patient) address(ctx context.Context, network, address string) Check {
	if p.running {
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		if err != nil {
			return fail("reload the agent if the listener is new, or look at its log", "%s: the running agent does not accept connections: %v", address, err)
		}
		conn.Close()
		return ok("%s: the running agent accepts connections", address)
	}
	if network == "unix" {
		if conn, err := new(net.Dialer).DialContext(ctx, network, address); err == nil {
			conn.Close()
			return fail("stop the other program, or set another path", "%s: another program accepts connections", address)
		}
		if there, err := writable(filepath.Dir(address)); err != nil {
			return fail(ownFolder, "%s: %v", there, err)
		}
		return ok("%s: free", address)
	}
	l, err := new(net.ListenConfig).Listen(ctx, network, address)
	switch {
	case err == nil:
		l.Close()
		return ok("%s: free", address)
	case errors.Is(err, fs.ErrPermission):
		return fail("set a port from 1024 on, or give the agent CAP_NET_BIND_SERVICE", "%s: %v", address, err)
	case strings.Contains(err.Error(), "assign requested address"), strings.Contains(err.Error(), "no such host"):
		return fail("set an address of this host", "%s: %v", address, err)
	}
	return fail("stop the other program (ss -ltnp shows it), or set another port", "%s: %v", address, err)
}

// running reports whether an agent answers at the admin address.
func running(ctx context.Context, a config.Admin, timeout time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, a.Network, a.Address)
	}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost/livez", nil)
	if err != nil {
		return false
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return false
	}
	defer response.Body.Close()
	return response.StatusCode == http.StatusOK || response.StatusCode == http.StatusServiceUnavailable || response.StatusCode == http.StatusBadRequest && a.TLS != nil
}
