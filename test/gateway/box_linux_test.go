package gateway_test

import (
	"bytes"
	"compress/gzip"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"os/exec"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/standpipe/standpipe/shipper/kpl"
	"github.com/standpipe/standpipe/test/certkit"
	"github.com/standpipe/standpipe/test/fakeaws"
	"github.com/standpipe/standpipe/test/gateway"
	"github.com/standpipe/standpipe/test/testkit"
)

const service = gateway.ServiceAddress + ":443"

// box is a gateway: an agent behind a link, and the service beyond it.
type box struct {
	*gateway.World
	*agent
	aws *fakeaws.Server

	handshakes, resumed atomic.Int64
}

// openBox starts the service and an agent with these streams; ${endpoint} in streams is the service.
func openBox(t *testing.T, q gateway.Quality, streams string) *box {
	t.Helper()
	b := newBox(t, q, strings.ReplaceAll(streams, "${endpoint}", "https://"+service))
	b.start()
	return b
}

// newBox is openBox with an agent that is not started.
func newBox(t *testing.T, q gateway.Quality, streams string) *box {
	t.Helper()
	b := &box{agent: newAgent(t, "", streams), World: gateway.Open(t, q), aws: fakeaws.Start(t)}
	b.aws.AnyOrder()
	ca := certkit.New(t, b.dir, "ca")
	cert, key := ca.Issue("service", certkit.Certificate{Common: "service", IPs: []net.IP{net.ParseIP(gateway.ServiceAddress)}, DNS: []string{awsName}})
	b.serve(cert, key)
	b.launch = func(cmd *exec.Cmd) (err error) {
		b.Agent.Do(func() { err = cmd.Start() })
		return err
	}
	return b
}

// serve starts the service beyond the link.
func (b *box) serve(cert, key string) {
	b.t.Helper()
	pair, err := tls.LoadX509KeyPair(cert, key)
	testkit.Must(b.t, err)
	l, err := b.Service.Listen(service)
	testkit.Must(b.t, err)
	srv := &http.Server{
		Handler: b.aws,
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{pair}, VerifyConnection: func(s tls.ConnectionState) error {
			b.handshakes.Add(1)
			if s.DidResume {
				b.resumed.Add(1)
			}
			return nil
		}},
	}
	go srv.ServeTLS(l, "", "")
	b.t.Cleanup(func() { srv.Close() })
}

// flap takes the link up and down until ctx ends.
func (b *box) flap(up, down time.Duration, cycles int) {
	for range cycles {
		b.Link.Set(true)
		time.Sleep(up)
		b.Link.Set(false)
		time.Sleep(down)
	}
}

var eventID = regexp.MustCompile(`"id":"\d{10}"`)

// stored returns the numbers of distinct events at the service, and of those that arrived again.
func (b *box) stored() (distinct, again int) {
	b.t.Helper()
	seen := make(map[string]bool)
	note := func(data []byte) {
		if z, err := gzip.NewReader(bytes.NewReader(data)); err == nil {
			data, err = io.ReadAll(z)
			testkit.Must(b.t, err)
		}
		if z, err := zstd.NewReader(bytes.NewReader(data)); err == nil {
			if all, err := io.ReadAll(z); err == nil {
				data = all
			}
			z.Close()
		}
		for _, id := range eventID.FindAllString(string(data), -1) {
			if seen[id] {
				again++
			}
			seen[id] = true
		}
	}
	for _, r := range b.aws.Records() {
		groups, aggregated, err := kpl.Decode(r.Data)
		if err != nil || !aggregated {
			note(r.Data)
			continue
		}
		for _, g := range groups {
			for _, data := range g.Payloads {
				note(data)
			}
		}
	}
	return len(seen), again
}
