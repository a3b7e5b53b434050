//go:build linux

package agent_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// poster is a connection that posts the same again and again. It is written and read by hand, to take little of
// the cores that it shares with the server.
type poster struct {
	conn net.Conn
	from *bufio.Reader
	post []byte
}

func newPosters(b *testing.B, s *server, l load) []*poster {
	b.Helper()
	network, address := "tcp", s.target
	if path, ok := strings.CutPrefix(address, "unix://"); ok {
		network, address = "unix", path
	}
	posters := make([]*poster, l.callers)
	for i := range posters {
		conn, err := net.Dial(network, address)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { conn.Close() })
		posters[i] = &poster{conn, bufio.NewReader(conn), l.post(i)}
	}
	return posters
}

// post is the load's request of HTTP, head and body.
func (l load) post(caller int) []byte {
	var body []byte
	for i, e := range l.request().Events {
		if i > 0 {
			body = append(body, '\n')
		}
		body = append(body, e.Data...)
	}
	kind := "text/plain"
	if l.events > 1 {
		kind = "application/x-ndjson"
	}
	query := fmt.Sprintf("key=sensor-%04d", caller)
	if l.early {
		query += "&ack=accepted"
	}
	head := fmt.Sprintf("POST /v1/streams/bench?%s HTTP/1.1\r\nHost: standpipe\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n", query, kind, len(body))
	return append([]byte(head), body...)
}

// send posts once. Any response but 200 and 202 is an error.
func (p *poster) send() error {
	if _, err := p.conn.Write(p.post); err != nil {
		return err
	}
	status, err := p.from.ReadSlice('\n')
	if err != nil || !bytes.HasPrefix(status, []byte("HTTP/1.1 20")) {
		return fmt.Errorf("got %q, %w", status, err)
	}
	length := 0
	for {
		line, err := p.from.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(line) == 2 {
			break
		}
		if n, ok := bytes.CutPrefix(line[:len(line)-2], []byte("Content-Length: ")); ok {
			length, _ = strconv.Atoi(string(n))
		}
	}
	_, err = p.from.Discard(length)
	return err
}

// serveBarePosts is net/http that answers at once.
func serveBarePosts(ctx context.Context, l net.Listener) error {
	s := &http.Server{Handler: http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		out.Header().Set("Content-Type", "application/json")
		io.WriteString(out, "{\"offset\":17,\"count\":1}\n")
	})}
	context.AfterFunc(ctx, func() { s.Close() })
	fmt.Println("ready")
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// BenchmarkPostRate posts at fixed times, 1,000 a second over 32 connections, to the agent and to net/http in turns of a
// second. It reports the time from the fixed time of each post to its response.
func BenchmarkPostRate(b *testing.B) {
	l := load{http: true, callers: 32, events: 1, size: kib}
	toAgent := newPosters(b, startServer(b, "agent", "tcp", l.env()), l)
	toBare := newPosters(b, startServer(b, "bare", "tcp", l.env()), l)
	var agent, bare []time.Duration
	b.ResetTimer()
	for left := b.N; left > 0; left -= rate {
		agent = append(agent, atRate(b, toAgent, min(rate, left))...)
		b.StopTimer()
		bare = append(bare, atRate(b, toBare, min(rate, left))...)
		b.StartTimer()
	}
	for _, side := range []struct {
		name string
		took durations
	}{{"", spread(agent)}, {"bare-", spread(bare)}} {
		b.ReportMetric(side.took.p50.Seconds()*1000, side.name+"p50-ms")
		b.ReportMetric(side.took.p99.Seconds()*1000, side.name+"p99-ms")
		b.ReportMetric(side.took.p999.Seconds()*1000, side.name+"p99.9-ms")
	}
}

// rate is posts a second.
const rate = 1000

// atRate sends n posts and returns how long after its time each was answered.
func atRate(b *testing.B, posters []*poster, n int) []time.Duration {
	due := make(chan time.Time, n)
	took := make(chan time.Duration, n)
	var group sync.WaitGroup
	for _, p := range posters {
		group.Go(func() {
			for at := range due {
				if err := p.send(); err != nil {
					b.Error(err)
					return
				}
				took <- time.Since(at)
			}
		})
	}
	begin := time.Now()
	for i := range n {
		at := begin.Add(time.Duration(i) * time.Second / rate)
		time.Sleep(time.Until(at))
		due <- at
	}
	close(due)
	group.Wait()
	close(took)
	all := make([]time.Duration, 0, n)
	for t := range took {
		all = append(all, t)
	}
	return all
}
