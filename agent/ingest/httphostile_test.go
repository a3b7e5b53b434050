package ingest_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/standpipe/standpipe/agent/ingest"
)

// allocated returns the bytes that the process has allocated since its start.
func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

// raw opens a connection and writes text.
func (w *web) raw(text string) net.Conn {
	w.t.Helper()
	conn, err := net.Dial(w.server.Addr().Network(), w.server.Addr().String())
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { conn.Close() })
	io.WriteString(conn, text)
	return conn
}

// statusOn returns the status of the response on a connection, or 0 when it is closed without one.
func statusOn(t *testing.T, conn net.Conn) int {
	t.Helper()
	conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	r, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		if timeout, ok := err.(net.Error); ok && timeout.Timeout() {
			t.Fatal("the listener neither answers nor closes the connection")
		}
		return 0
	}
	r.Body.Close()
	return r.StatusCode
}

const head = "POST /v1/streams/text?key=k HTTP/1.1\r\nHost: x\r\n"

func TestClientsThatStall(t *testing.T) {
	log := newFakeLog(t)
	w := serveHTTP(t, ingest.Options{Log: log, HTTP: ingest.HTTPOptions{ReadTimeout: 200 * time.Millisecond}})
	for name, test := range map[string]struct {
		text string
		want int
	}{
		"a body that stalls":        {head + "Content-Length: 10\r\n\r\nabc", 408},
		"a chunk that stalls":       {head + "Transfer-Encoding: chunked\r\n\r\n5\r\nab", 408},
		"a header that stalls":      {head + "X-A: ", 0},
		"a header without end":      {head + "X-A: " + strings.Repeat("a", 1<<20), 431},
		"headers without end":       {head + strings.Repeat("X-A: a\r\n", 1<<15), 431},
		"a line without end":        {"POST /" + strings.Repeat("a", 1<<20), 431},
		"no HTTP":                   {"\x16\x03\x01\x02\x00\r\n\r\n", 400},
		"two lengths":               {head + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400},
		"a length that is too much": {head + "Content-Length: 99999999999\r\n\r\n", 413},
	} {
		if got := statusOn(t, w.raw(test.text)); got != test.want {
			t.Errorf("%s: got %d, want %d", name, got, test.want)
		}
	}
	if got := log.stored(); len(got) != 0 {
		t.Errorf("stored %q", got)
	}
	if got := w.post("text?key=k", "x"); got.status != 200 {
		t.Errorf("after all of them: got %d %s", got.status, got.body)
	}
}

// TestIdleConnections has a thousand connections that say nothing or half of something.
func TestIdleConnections(t *testing.T) {
	log := newFakeLog(t)
	w := serveHTTP(t, ingest.Options{Log: log, MaxConnections: 1001})
	if got := w.post("text?key=k", "x"); got.status != 200 {
		t.Fatalf("got %d %s", got.status, got.body)
	}
	idle := []string{"", head, head + "Content-Length: 10000000\r\n\r\nabc"}
	for i := range 1000 {
		w.raw(idle[i%len(idle)])
	}
	if got := w.post("text?key=k", "x"); got.status != 200 {
		t.Errorf("beside a thousand: got %d %s", got.status, got.body)
	}
}

// TestBodiesShareRoom: bodies that were begun and not ended hold no more than the listener's room.
func TestBodiesShareRoom(t *testing.T) {
	w := serveHTTP(t, ingest.Options{Log: newFakeLog(t), MaxRequestSize: 16 << 20})
	part := strings.Repeat("x", 12<<20)
	full := make(chan int, 12)
	var senders sync.WaitGroup
	for range 12 {
		conn := w.raw("")
		senders.Go(func() {
			fmt.Fprintf(conn, "POST /v1/streams/bytes?key=k HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", 16<<20)
			io.WriteString(conn, part)
		})
		go func() { full <- statusOn(t, conn) }()
	}
	if got := <-full; got != 503 {
		t.Errorf("got %d, want 503 once the room is taken", got)
	}
	stopNow(w.server)
	senders.Wait()
	for range 11 {
		<-full
	}
}

// TestTheLogMayTakeLonger: a request that has arrived may wait for the WAL longer than the read timeout.
func TestTheLogMayTakeLonger(t *testing.T) {
	log := newFakeLog(t)
	log.hold = make(chan struct{})
	w := serveHTTP(t, ingest.Options{Log: log, HTTP: ingest.HTTPOptions{ReadTimeout: 100 * time.Millisecond}})
	var waiting []net.Conn
	for i, lines := range []int{1, 256 << 4, 300 << 4} {
		body := strings.Repeat(strings.Repeat("x", 63)+"\n", lines)
		waiting = append(waiting, w.raw(fmt.Sprintf("%sContent-Type: application/x-ndjson\r\nContent-Length: %d\r\n\r\n%s", head, len(body), body)))
		for log.submitted() == i {
			runtime.Gosched()
		}
	}
	if got := statusOn(t, w.raw(head+"Content-Length: 2\r\n\r\nx")); got != 408 {
		t.Fatalf("a body that came later and stalls: got %d, want 408", got)
	}
	close(log.hold)
	for i, conn := range waiting {
		if got := statusOn(t, conn); got != 200 {
			t.Errorf("request %d: got %d, want 200", i, got)
		}
	}
}

func TestStopAnswersPostsThatWereTaken(t *testing.T) {
	log := newFakeLog(t)
	log.hold = make(chan struct{})
	w := serveHTTP(t, ingest.Options{Log: log})
	taken := w.raw(head + "Content-Length: 1\r\n\r\nx")
	half := w.raw(head + "Expect: 100-continue\r\nContent-Length: 2\r\n\r\nx")
	if got := statusOn(t, half); got != 100 { // without any read the connection is only closed
		t.Fatalf("got %d, want 100 once the body is read", got)
	}
	w.raw("")
	for log.submitted() == 0 {
		runtime.Gosched()
	}
	stopped := make(chan error, 1)
	go func() { stopped <- w.server.Stop(t.Context()) }()
	if got := statusOn(t, half); got != 503 {
		t.Errorf("a body that was not whole: got %d, want 503", got)
	}
	close(log.hold)
	if got := statusOn(t, taken); got != 200 {
		t.Errorf("a request that was taken: got %d, want 200", got)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if got := log.stored(); len(got) != 1 {
		t.Errorf("stored %q, want the one that was answered", got)
	}
}
