package livetail_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/standpipe/standpipe/agent/internal/livetail"
	"github.com/standpipe/standpipe/test/draw"
	"github.com/standpipe/standpipe/test/testkit"
	"github.com/standpipe/standpipe/wal"
)

// memoryLog is a log of one stream in memory.
type memoryLog struct {
	mu     sync.Mutex
	first  uint64 // offset; the log has none below
	events []wal.Event
	grown  chan struct{}
	broken uint64 // a read that begins below this offset finds damage; 0: none does
}

func newMemoryLog() *memoryLog { return &memoryLog{first: 1, grown: make(chan struct{})} }

func (l *memoryLog) append(keys ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, key := range keys {
		l.events = append(l.events, wal.Event{Key: key, Data: []byte("data"), Offset: uint64(len(l.events) + 1)})
	}
	close(l.grown)
	l.grown = make(chan struct{})
}

func (l *memoryLog) truncate(first uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.first = first
}

func (l *memoryLog) Next(string) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return uint64(len(l.events) + 1)
}

func (l *memoryLog) Grown(string) <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.grown
}

// Read returns up to one event for a kilobyte of the limit.
func (l *memoryLog) Read(_ string, from uint64, _ wal.LaneSet, limit int) (wal.Chunk, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if from < l.broken {
		return wal.Chunk{Next: from}, &wal.CorruptError{Reason: "test"}
	}
	begin := min(max(from, l.first)-1, uint64(len(l.events)))
	end := min(begin+uint64(limit>>10), uint64(len(l.events)))
	return wal.Chunk{Events: slices.Clone(l.events[begin:end]), Next: max(end+1, from), End: end == uint64(len(l.events))}, nil
}

// client is a writer of a response. Each write takes the time that delay returns.
type client struct {
	http.ResponseWriter
	mu       sync.Mutex
	delay    func() time.Duration // guarded by mu
	deadline time.Time
	writes   []string
}

func (c *client) become(delay func() time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.delay = delay
}

func (c *client) Header() http.Header                { return make(http.Header) }
func (c *client) SetReadDeadline(time.Time) error    { return nil }
func (c *client) SetWriteDeadline(t time.Time) error { c.deadline = t; return nil }
func (c *client) Flush()                             {}

func (c *client) Write(b []byte) (int, error) {
	c.mu.Lock()
	delay := c.delay
	c.mu.Unlock()
	d := delay()
	if left := time.Until(c.deadline); d > left {
		time.Sleep(left)
		return 0, os.ErrDeadlineExceeded
	}
	time.Sleep(d)
	c.writes = append(c.writes, string(b))
	return len(b), nil
}

// sent is a server-sent event.
type sent struct {
	kind, id, data string
}

// readSent reads up to an empty line. Its fields beside the known ones are skipped.
func readSent(r *bufio.Reader) (s sent, err error) {
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return s, err
		}
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch name {
		case "event":
			s.kind = value
		case "id":
			s.id = value
		case "data":
			s.data = value
		case "":
			if s != (sent{}) {
				return s, nil
			}
		}
	}
}

// account checks that events, skipped offsets and positions follow each other without a gap from an offset on. Offsets of other keys
// are left out without a word. It returns the next offset, and the numbers of events and of skipped offsets.
func account(t *testing.T, text string, l *memoryLog, keys []string, next uint64) (end uint64, events, skipped int) {
	t.Helper()
	pass := func(to uint64) {
		for ; next < to; next++ {
			if keys == nil || slices.Contains(keys, l.events[next-1].Key) {
				t.Fatalf("offset %d is left out without a word", next)
			}
		}
	}
	for r := bufio.NewReader(strings.NewReader(text)); ; {
		s, err := readSent(r)
		if errors.Is(err, io.EOF) {
			return next, events, skipped
		}
		var data struct{ Offset, From, Next, Lag uint64 }
		if err := json.Unmarshal([]byte(s.data), &data); err != nil {
			t.Fatalf("%+v: %v", s, err)
		}
		switch s.kind {
		case "":
			pass(data.Offset)
			next = data.Offset + 1
			events++
		case "skipped":
			pass(data.From)
			skipped += int(data.Next - data.From)
			next = data.Next
		case "position":
			pass(data.Next)
		}
		if s.id != strconv.FormatUint(next-1, 10) {
			t.Fatalf("%+v: want the id %d", s, next-1)
		}
	}
}

func always() error { return nil }

// For all appends and all clients a view accounts for every offset, and reaches the end once the client is fast.
func TestView_AccountsForEachOffset(t *testing.T) {
	seed := draw.Seed(t)
	for round := range uint64(5) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, round))
			l := newMemoryLog()
			s := livetail.New(l, func(string) error { return nil })
			slowest := time.Duration(r.Int64N(int64(9 * time.Second)))
			ofClient := rand.New(rand.NewPCG(seed, 2))
			c := &client{delay: func() time.Duration { return time.Duration(ofClient.Int64N(int64(slowest) + 1)) }}
			target, begin := "/", uint64(1)
			var keys []string
			for i := range r.IntN(3) {
				keys = append(keys, fmt.Sprint("k", i))
				target += fmt.Sprintf("?key=k%d&"[min(i, 1):], i)
			}
			done := make(chan struct{})
			go func() {
				defer close(done)
				s.Serve(c, httptest.NewRequest("GET", target, nil), "s", always)
			}()
			synctest.Wait()
			for range 20 {
				burst := make([]string, r.IntN(1+r.IntN(5000)))
				for i := range burst {
					burst[i] = fmt.Sprint("k", r.IntN(5))
				}
				l.append(burst...)
				if r.IntN(8) == 0 {
					l.truncate(1 + r.Uint64N(l.Next("s")))
				}
				time.Sleep(time.Duration(r.Int64N(int64(3 * time.Second))))
			}
			c.become(func() time.Duration { return 0 })
			time.Sleep(time.Minute)
			s.Stop()
			<-done
			end, events, skipped := account(t, strings.Join(c.writes, ""), l, keys, begin)
			for ; end < l.Next("s") && keys != nil && !slices.Contains(keys, l.events[end-1].Key); end++ {
			}
			if end != l.Next("s") || keys == nil && events+skipped != len(l.events) {
				t.Errorf("got %d events, %d skipped, the next is %d; want %d in all", events, skipped, end, len(l.events))
			}
			for _, write := range c.writes {
				if n := strings.Count(write, `"offset":`); n > 100 {
					t.Errorf("got %d events at once", n)
				}
			}
		})
	}
}

// A client that takes nothing is disconnected after ten seconds.
func TestView_OfADeadClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newMemoryLog()
		c := &client{delay: func() time.Duration { return time.Hour }}
		begun := time.Now()
		livetail.New(l, func(string) error { return nil }).Serve(c, httptest.NewRequest("GET", "/", nil), "s", always)
		if got := time.Since(begun); got != 10*time.Second {
			t.Errorf("got the end after %s", got)
		}
	})
}

// A quiet stream has a position every 15 s. A caller that may not read any more is disconnected by then.
func TestView_ChecksThePermissionWhileNothingHappens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newMemoryLog()
		c := &client{delay: func() time.Duration { return 0 }}
		begun := time.Now()
		revoked := begun.Add(61 * time.Second)
		livetail.New(l, func(string) error { return nil }).Serve(c, httptest.NewRequest("GET", "/", nil), "s", func() error {
			if time.Now().After(revoked) {
				return errors.New("not any more")
			}
			return nil
		})
		if late := time.Since(revoked); late > 16*time.Second {
			t.Errorf("got the end %s late", late)
		}
		if got := strings.Count(strings.Join(c.writes, ""), "event: position\nid: 0\ndata: {\"next\":1,\"lag\":0}\n"); got != 5 {
			t.Errorf("got %d positions in a minute and at the begin: %q", got, c.writes)
		}
	})
}

// Damage is reported, and the view goes on at the end.
func TestView_PassesDamage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newMemoryLog()
		l.append("a", "b", "c")
		l.broken = 4
		c := &client{delay: func() time.Duration { return 0 }}
		s := livetail.New(l, func(string) error { return nil })
		go s.Serve(c, httptest.NewRequest("GET", "/?last=3", nil), "s", always)
		time.Sleep(time.Second)
		l.append("d")
		time.Sleep(time.Minute)
		s.Stop()
		synctest.Wait()
		text := strings.Join(c.writes, "")
		if !strings.Contains(text, `"from":1,"next":4,"reason":"damaged"`) || !strings.Contains(text, `"offset":4,`) {
			t.Errorf("got %q", text)
		}
	})
}

// open begins a view over HTTP.
func open(t *testing.T, url, lastID string) (*http.Response, *bufio.Reader) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
	testkit.Must(t, err)
	if lastID != "" {
		r.Header.Set("Last-Event-ID", lastID)
	}
	response, err := http.DefaultClient.Do(r)
	testkit.Must(t, err)
	t.Cleanup(func() { response.Body.Close() })
	return response, bufio.NewReader(response.Body)
}

func next(t *testing.T, r *bufio.Reader) sent {
	t.Helper()
	s, err := readSent(r)
	testkit.Must(t, err)
	return s
}

// serve serves the stream "s" of a log.
func serve(t *testing.T, l livetail.Log) (*livetail.Server, string) {
	t.Helper()
	s := livetail.New(l, func(stream string) error {
		if stream != "s" {
			return errors.New("no such stream")
		}
		return nil
	})
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.Serve(w, r, r.URL.Path[1:], always) }))
	t.Cleanup(web.Close)
	t.Cleanup(s.Stop) // before Close, which waits for the views
	return s, web.URL + "/"
}

// Text is shown as text, other data as base64, both without a character that has a meaning in HTML, and the begin alone of much.
func TestView_ShowsAnyData(t *testing.T) {
	l := testkit.OpenLog(t, wal.Options{})
	long := strings.Repeat("ä", 3000)
	for _, e := range []wal.Event{
		{Key: "<b>", Data: []byte("<script>\n&\u2028"), Time: 1, Attributes: map[string]string{"<i>": "\n\ndata: x"}},
		{Key: "k", Data: []byte{0xff, 0xfe}, Time: 1},
		{Key: "k", Data: []byte("x" + long), Time: 1}, // a cut would part a character
		{Key: "k", Time: 1, Data: []byte("{}"), Attributes: map[string]string{"long": long}},
		{Key: "k", Time: 1},
	} {
		_, err := l.Append(t.Context(), &wal.Batch{Stream: "s", Events: []wal.Event{e}})
		testkit.Must(t, err)
	}
	_, address := serve(t, l)
	response, r := open(t, address+"s?last=500", "")
	if got := response.Header.Get("Content-Type"); got != "text/event-stream" {
		t.Errorf("got %s", got)
	}
	if got := next(t, r); got != (sent{"position", "0", `{"next":1,"lag":5}`}) {
		t.Errorf("got %+v", got)
	}
	const at = `"time":"1970-01-01T00:00:00.000000001Z",`
	for i, want := range []string{
		at + `"key":"\u003cb\u003e","attributes":{"\u003ci\u003e":"\n\ndata: x"},"data":"\u003cscript\u003e\n\u0026\u2028","bytes":13,"lag":4}`,
		at + `"key":"k","data_base64":"//4=","bytes":2,"lag":3}`,
		at + `"key":"k","data":"x` + long[:4094] + `","bytes":6001,"cut":true,"lag":2}`,
		at + `"key":"k","data":"{}","bytes":2,"cut":true,"lag":1}`,
		at + `"key":"k","data":"","bytes":0,"lag":0}`,
	} {
		want := sent{"", fmt.Sprint(i + 1), fmt.Sprintf(`{"offset":%d,`, i+1) + want}
		if got := next(t, r); got != want {
			t.Errorf("got  %+v\nwant %+v", got, want)
		}
	}
}

// A view goes on behind the last ID of the client, and reports the events that have gone since.
func TestView_ResumesBehindAnID(t *testing.T) {
	l := newMemoryLog()
	l.append("a", "b", "c", "d")
	_, address := serve(t, l)
	for _, test := range []struct {
		query, id   string
		first       uint64
		wants       []string // after the first position
		appendFirst bool
	}{
		{query: "", id: "2", first: 1, wants: []string{"3", "4"}},
		{query: "?after=2", first: 1, wants: []string{"3", "4"}},
		{query: "?after=0&last=1", id: "3", first: 1, wants: []string{"4"}},
		{query: "?last=2", first: 1, wants: []string{"3", "4"}},
		{query: "?last=500", first: 3, wants: []string{"3", "4"}},
		{query: "?after=1&key=d", first: 1, wants: []string{"4"}},
		{query: "", id: "1", first: 3, wants: []string{`2 {"from":2,"next":3,"reason":"gone"}`, "3", "4"}},
		{query: "", id: "1000", first: 1, wants: nil}, // of a log that is another one now
	} {
		l.truncate(test.first)
		_, r := open(t, address+"s"+test.query, test.id)
		if got := next(t, r); got.kind != "position" {
			t.Errorf("%+v: got %+v", test, got)
		}
		for _, want := range test.wants {
			got := next(t, r)
			if got.kind == "skipped" {
				got.id += " " + got.data
			}
			if got.id != want {
				t.Errorf("%+v: got %+v, want %s", test, got, want)
			}
		}
		if test.wants == nil {
			l.append("e")
			if got := next(t, r); got.id != "5" {
				t.Errorf("%+v: got %+v", test, got)
			}
		}
	}
}

func TestView_ChecksItsRequest(t *testing.T) {
	_, address := serve(t, newMemoryLog())
	for query, want := range map[string]string{
		"s?last=501":                         "400 last: want 0 to 500",
		"s?last=-1":                          "400 last: want 0 to 500",
		"s?after=x":                          "400 after: want an offset, a number",
		"s?key=%zz":                          "400 the query is malformed",
		"s?" + strings.Repeat("key=k&", 101): "400 key: 101 are given; at most 100 are allowed",
		"other":                              "404 no such stream",
	} {
		response, r := open(t, address+query, "")
		body, err := io.ReadAll(r)
		testkit.Must(t, err)
		if got := fmt.Sprint(response.StatusCode, " ", strings.TrimSpace(string(body))); got != want {
			t.Errorf("%s: got %s, want %s", query, got, want)
		}
	}
	head, err := http.Head(address + "s")
	testkit.Must(t, err)
	if head.StatusCode != 200 || head.Header.Get("Content-Type") != "text/event-stream" {
		t.Errorf("HEAD: got %s %v", head.Status, head.Header)
	}
}

// Eight views are open at once. One more is rejected until one has ended; a stop ends all.
func TestViews_AreLimited(t *testing.T) {
	s, address := serve(t, newMemoryLog())
	var views []*http.Response
	for range 8 {
		response, r := open(t, address+"s", "")
		next(t, r)
		views = append(views, response)
	}
	full, r := open(t, address+"s", "")
	if body, _ := io.ReadAll(r); full.StatusCode != 503 || full.Header.Get("Retry-After") == "" || !strings.Contains(string(body), "8 live views are open") {
		t.Errorf("got %s %s", full.Status, body)
	}
	views[0].Body.Close()
	testkit.Eventually(t, time.Minute, func() error {
		response, _ := open(t, address+"s", "")
		if response.StatusCode != 200 {
			return fmt.Errorf("got %s after a view has ended", response.Status)
		}
		return nil
	})
	s.Stop()
	if _, err := io.Copy(new(bytes.Buffer), views[7].Body); err != nil {
		t.Errorf("got %v at a stop, want the end of the response", err)
	}
}

// A client that takes nothing holds up neither appends nor truncation.
func TestView_OfASlowClientHoldsNothingUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newMemoryLog()
		held := make(chan struct{})
		c := &client{delay: func() time.Duration { return 0 }}
		s := livetail.New(l, func(string) error { return nil })
		go s.Serve(c, httptest.NewRequest("GET", "/", nil), "s", always)
		time.Sleep(time.Second)
		c.become(func() time.Duration { <-held; return 0 })
		l.append("a")
		time.Sleep(time.Second) // the view is held up
		for range 50 {
			l.append(slices.Repeat([]string{"k"}, 100)...)
		}
		l.truncate(4000)
		close(held)
		time.Sleep(time.Minute)
		s.Stop()
		synctest.Wait()
		text := strings.Join(c.writes, "")
		if !strings.Contains(text, `"from":2,"next":4902,"reason":"behind"`) || !strings.Contains(text, `"offset":5001,`) {
			t.Errorf("got %.300s", text)
		}
	})
}
