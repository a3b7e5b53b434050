package httpin_test

import (
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/standpipe/standpipe/agent/ingest"
	"github.com/standpipe/standpipe/test/ingestkit"
)

func TestPost_ClientsThatStall(t *testing.T) {
	log := ingestkit.NewLog(t)
	// A busy machine reads a megabyte of a header within the timeout.
	w := ingestkit.ServeHTTP(t, ingest.Options{Log: log, HTTP: ingest.HTTPOptions{ReadTimeout: 3 * time.Second}})
	stalls := make(map[string]net.Conn)
	for name, text := range map[string]string{
		"a body that stalls":  ingestkit.Head + "Content-Length: 10\r\n\r\nabc",
		"a chunk that stalls": ingestkit.Head + "Transfer-Encoding: chunked\r\n\r\n5\r\nab",
	} {
		stalls[name] = w.Raw(text)
	}
	header := w.Raw(ingestkit.Head + "X-A: ")
	for name, test := range map[string]struct {
		text string
		want int
	}{
		"a header without end":      {ingestkit.Head + "X-A: " + strings.Repeat("a", 1<<20), 431},
		"headers without end":       {ingestkit.Head + strings.Repeat("X-A: a\r\n", 1<<15), 431},
		"a line without end":        {"POST /" + strings.Repeat("a", 1<<20), 431},
		"no HTTP":                   {"\x16\x03\x01\x02\x00\r\n\r\n", 400},
		"two lengths":               {ingestkit.Head + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400},
		"a length that is too much": {ingestkit.Head + "Content-Length: 99999999999\r\n\r\n", 413},
	} {
		if got := ingestkit.StatusOn(t, w.Raw(test.text)); got != test.want {
			t.Errorf("%s: got %d, want %d", name, got, test.want)
		}
	}
	for name, conn := range stalls {
		if got := ingestkit.StatusOn(t, conn); got != 408 {
			t.Errorf("%s: got %d, want 408", name, got)
		}
	}
	if got := ingestkit.StatusOn(t, header); got != 0 {
		t.Errorf("a header that stalls: got %d, want the end of the connection", got)
	}
	if got := log.Stored(); len(got) != 0 {
		t.Errorf("stored %q", got)
	}
	if got := w.Post("text?key=k", "x"); got.Status != 200 {
		t.Errorf("after all of them: got %d %s", got.Status, got.Body)
	}
}

// TestConnections_Idle has a thousand connections that say nothing or half of something.
func TestConnections_Idle(t *testing.T) {
	log := ingestkit.NewLog(t)
	w := ingestkit.ServeHTTP(t, ingest.Options{Log: log, MaxConnections: 1001})
	if got := w.Post("text?key=k", "x"); got.Status != 200 {
		t.Fatalf("got %d %s", got.Status, got.Body)
	}
	idle := []string{"", ingestkit.Head, ingestkit.Head + "Content-Length: 10000000\r\n\r\nabc"}
	for i := range 1000 {
		w.Raw(idle[i%len(idle)])
	}
	if got := w.Post("text?key=k", "x"); got.Status != 200 {
		t.Errorf("beside a thousand: got %d %s", got.Status, got.Body)
	}
}

// TestBodies_ShareABudget: bodies that were begun and not ended hold no more than the listener's room.
func TestBodies_ShareABudget(t *testing.T) {
	w := ingestkit.ServeHTTP(t, ingest.Options{Log: ingestkit.NewLog(t), MaxRequestSize: 16 << 20})
	part := strings.Repeat("x", 12<<20)
	full := make(chan int, 12)
	var senders sync.WaitGroup
	for range 12 {
		conn := w.Raw("")
		senders.Go(func() {
			fmt.Fprintf(conn, "POST /v1/streams/bytes?key=k HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", 16<<20)
			io.WriteString(conn, part)
		})
		go func() { full <- ingestkit.StatusOn(t, conn) }()
	}
	if got := <-full; got != 503 {
		t.Errorf("got %d, want 503 once the room is taken", got)
	}
	ingestkit.StopNow(w.Server)
	senders.Wait()
	for range 11 {
		<-full
	}
}

// TestPost_LogMayTakeLonger: a request that has arrived may wait for the WAL longer than the read timeout.
func TestPost_LogMayTakeLonger(t *testing.T) {
	log := ingestkit.NewLog(t)
	log.Hold = make(chan struct{})
	w := ingestkit.ServeHTTP(t, ingest.Options{Log: log, HTTP: ingest.HTTPOptions{ReadTimeout: 3 * time.Second}})
	var waiting []net.Conn
	for i, lines := range []int{1, 256 << 4, 300 << 4} {
		body := strings.Repeat(strings.Repeat("x", 63)+"\n", lines)
		waiting = append(waiting, w.Raw(fmt.Sprintf("%sContent-Type: application/x-ndjson\r\nContent-Length: %d\r\n\r\n%s", ingestkit.Head, len(body), body)))
		for log.Submitted() == i {
			runtime.Gosched()
		}
	}
	if got := ingestkit.StatusOn(t, w.Raw(ingestkit.Head+"Content-Length: 2\r\n\r\nx")); got != 408 {
		t.Fatalf("a body that came later and stalls: got %d, want 408", got)
	}
	close(log.Hold)
	for i, conn := range waiting {
		if got := ingestkit.StatusOn(t, conn); got != 200 {
			t.Errorf("request %d: got %d, want 200", i, got)
		}
	}
}

func TestStop_RespondsToSubmittedPosts(t *testing.T) {
	log := ingestkit.NewLog(t)
	log.Hold = make(chan struct{})
	w := ingestkit.ServeHTTP(t, ingest.Options{Log: log})
	taken := w.Raw(ingestkit.Head + "Content-Length: 1\r\n\r\nx")
	half := w.Raw(ingestkit.Head + "Expect: 100-continue\r\nContent-Length: 2\r\n\r\nx")
	if got := ingestkit.StatusOn(t, half); got != 100 { // without any read the connection is only closed
		t.Fatalf("got %d, want 100 once the body is read", got)
	}
	w.Raw("")
	for log.Submitted() == 0 {
		runtime.Gosched()
	}
	stopped := make(chan error, 1)
	go func() { stopped <- w.Server.Stop(t.Context()) }()
	if got := ingestkit.StatusOn(t, half); got != 503 {
		t.Errorf("a body that was not whole: got %d, want 503", got)
	}
	close(log.Hold)
	if got := ingestkit.StatusOn(t, taken); got != 200 {
		t.Errorf("a request that was taken: got %d, want 200", got)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if got := log.Stored(); len(got) != 1 {
		t.Errorf("stored %q, want the one that was answered", got)
	}
}
