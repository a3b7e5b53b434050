package ingest_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/standpipe/standpipe/agent/ingest"
	"github.com/standpipe/standpipe/wal"
)

// BenchmarkPost compares the HTTP listener, on a log that costs nothing and on the log itself, with
// net/http that reads the same posts of 1 KiB and answers them at once. The client is a connection
// that is written and read by hand, so that it takes little of the cores that both share.
func BenchmarkPost(b *testing.B) {
	for _, callers := range []int{1, 64, 256} {
		for _, how := range []string{"bare", "discard", "wal"} {
			b.Run(fmt.Sprintf("%s/size=1KiB/callers=%d", how, callers), func(b *testing.B) { benchPost(b, how, callers) })
		}
	}
}

func postListener(b *testing.B, how string) net.Addr {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	if how == "bare" {
		s := &http.Server{Handler: http.HandlerFunc(answerAtOnce)}
		go s.Serve(l)
		b.Cleanup(func() { s.Close() })
		return l.Addr()
	}
	var log ingest.Log = &discard{}
	if how == "wal" {
		log = ingest.FromWAL(openLog(b, wal.Options{OnFull: wal.DropOldest}))
	}
	s, err := ingest.New(ingest.Options{Type: ingest.HTTP, Listener: l, Log: log, Streams: testStreams})
	if err != nil {
		b.Fatal(err)
	}
	go s.Serve(context.Background())
	b.Cleanup(func() { s.Stop(context.Background()) })
	return l.Addr()
}

func answerAtOnce(out http.ResponseWriter, r *http.Request) {
	io.Copy(io.Discard, r.Body)
	out.Header().Set("Content-Type", "application/json")
	io.WriteString(out, "{\"offset\":17,\"count\":1}\n")
}

// poster is one connection that posts.
type poster struct {
	conn net.Conn
	from *bufio.Reader
	post []byte
}

func newPoster(b *testing.B, at net.Addr, key int) *poster {
	b.Helper()
	conn, err := net.Dial(at.Network(), at.String())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { conn.Close() })
	data := `{"text":"` + strings.Repeat("x", 1024-11) + `"}`
	post := fmt.Sprintf("POST /v1/streams/bench?key=%d HTTP/1.1\r\nHost: standpipe\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", key, len(data), data)
	return &poster{conn, bufio.NewReader(conn), []byte(post)}
}

// send posts once and returns what is not a 200 as an error.
func (p *poster) send() error {
	if _, err := p.conn.Write(p.post); err != nil {
		return err
	}
	status, err := p.from.ReadSlice('\n')
	if err != nil || !strings.HasPrefix(string(status), "HTTP/1.1 200 ") {
		return fmt.Errorf("got %q, %v", status, err)
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
		if n, ok := strings.CutPrefix(string(line[:len(line)-2]), "Content-Length: "); ok {
			length, _ = strconv.Atoi(n)
		}
	}
	_, err = p.from.Discard(length)
	return err
}

func benchPost(b *testing.B, how string, callers int) {
	at := postListener(b, how)
	posters := make([]*poster, callers)
	for i := range posters {
		posters[i] = newPoster(b, at, i)
	}
	var left atomic.Int64
	left.Store(int64(b.N))
	b.SetBytes(1024)
	b.ReportAllocs()
	b.ResetTimer()
	var group sync.WaitGroup
	for _, p := range posters {
		group.Go(func() {
			for left.Add(-1) >= 0 {
				if err := p.send(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "posts/s")
}

// BenchmarkPostRate posts at times that do not depend on the answers, 1,000 a second over 32
// connections, and tells how long after its time each post was answered, synced.
func BenchmarkPostRate(b *testing.B) {
	for _, how := range []string{"bare", "wal"} {
		b.Run(how+"/size=1KiB/rate=1000", func(b *testing.B) { benchPostRate(b, postListener(b, how)) })
	}
}

func benchPostRate(b *testing.B, at net.Addr) {
	const every, connections = time.Millisecond, 32
	due := make(chan time.Time, b.N)
	took := make([]time.Duration, b.N)
	var next atomic.Int64
	var group sync.WaitGroup
	for i := range connections {
		p := newPoster(b, at, i)
		group.Go(func() {
			for at := range due {
				if err := p.send(); err != nil {
					b.Error(err)
					return
				}
				took[next.Add(1)-1] = time.Since(at)
			}
		})
	}
	b.ResetTimer()
	begin := time.Now()
	for i := range b.N {
		at := begin.Add(time.Duration(i) * every)
		time.Sleep(time.Until(at))
		due <- at
	}
	close(due)
	group.Wait()
	slices.Sort(took)
	for name, share := range map[string]float64{"p50-ms": 0.5, "p99-ms": 0.99, "p99.9-ms": 0.999} {
		b.ReportMetric(took[int(share*float64(b.N-1))].Seconds()*1000, name)
	}
}
