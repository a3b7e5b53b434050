package ingest_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/standpipe/standpipe/agent/ingest"
	"github.com/standpipe/standpipe/wal"
)

// producer is a connection to the socket listener.
type producer struct {
	t         *testing.T
	conn      net.Conn
	responses *bufio.Reader
}

func serveSocket(t *testing.T, o ingest.Options) (*ingest.Server, *producer) {
	t.Helper()
	o.Type = ingest.Socket
	s := serve(t, o)
	return s, connect(t, s.Addr())
}

func connect(t *testing.T, at net.Addr) *producer {
	t.Helper()
	conn, err := net.Dial(at.Network(), at.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return newProducer(t, conn)
}

func newProducer(t *testing.T, conn net.Conn) *producer {
	return &producer{t: t, conn: conn, responses: bufio.NewReader(conn)}
}

func (p *producer) send(text string) {
	p.t.Helper()
	if _, err := io.WriteString(p.conn, text); err != nil {
		p.t.Fatal(err)
	}
}

func (p *producer) finish() {
	p.t.Helper()
	if err := p.conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		p.t.Fatal(err)
	}
}

func (p *producer) response() string {
	p.t.Helper()
	line, err := p.responses.ReadString('\n')
	if err != nil {
		p.t.Fatalf("read a reply: %v after %q", err, line)
	}
	return strings.TrimSuffix(line, "\n")
}

func (p *producer) expect(want string) {
	p.t.Helper()
	if got := p.response(); got != want {
		p.t.Errorf("got reply %s, want %s", got, want)
	}
}

func (p *producer) expectEnd() {
	p.t.Helper()
	if b, err := p.responses.ReadByte(); !errors.Is(err, io.EOF) {
		p.t.Errorf("got %q, %v, want the end of the connection", b, err)
	}
}

func TestSocketRefusals(t *testing.T) {
	const allowed = `; stream, key, data, data_base64, time, attributes, ack, producer_id and producer_sequence are allowed`
	tests := []struct{ line, text, code string }{
		{``, `the line of 0 bytes is not valid JSON from byte 0 on`, "INVALID_ARGUMENT"},
		{`   `, `the line of 3 bytes is not valid JSON from byte 3 on`, "INVALID_ARGUMENT"},
		{`s3cret`, `the line of 6 bytes is not valid JSON from byte 0 on`, "INVALID_ARGUMENT"},
		{`{"stream":"text","key":"k","data":1`, `the line of 35 bytes is not valid JSON from byte 35 on`, "INVALID_ARGUMENT"},
		{`{"stream":"text","key":"k","data":1} {}`, `the line of 39 bytes is not valid JSON from byte 37 on`, "INVALID_ARGUMENT"},
		{"\"\xff\"", `the line of 3 bytes is not valid UTF-8`, "INVALID_ARGUMENT"},
		{`[1]`, `the line of 3 bytes is no JSON object`, "INVALID_ARGUMENT"},
		{`null`, `the line of 4 bytes is no JSON object`, "INVALID_ARGUMENT"},
		{`{}`, `one of data and data_base64 is needed`, "INVALID_ARGUMENT"},
		{`{"stream":"text","key":"k","data_base64":null}`, `one of data and data_base64 is needed`, "INVALID_ARGUMENT"},
		{`{"key":"k","data":1}`, `the name of the stream is missing`, "INVALID_ARGUMENT"},
		{`{"stream":"nope","key":"k","data":1}`, `stream \"nope\": no stream block matches`, "NOT_FOUND"},
		{`{"stream":7,"key":"k","data":1}`, `stream is a number; a string is allowed`, "INVALID_ARGUMENT"},
		{`{"stream":"text","data":1}`, `partition_key has 0 characters; 1 to 256 are allowed`, "INVALID_ARGUMENT"},
		{`{"stream":"text","key":["s3cret"],"data":1}`, `key is an array; a string is allowed`, "INVALID_ARGUMENT"},
		{`{"stream":"text","key":"\ud800x","data":1}`, `key, a string of 9 bytes, has half of a surrogate pair, which is no character`, "INVALID_ARGUMENT"},
		{`{"stream":"text","key":"k","data":"\udc00\ud800"}`, `data, a string of 14 bytes, has half of a surrogate pair, which is no character`, "INVALID_ARGUMENT"},
		{`{"stream":"text","key":"k","data":1,"data_base64":"MQ=="}`, `data and data_base64 are both there; one of them is allowed`, "INVALID_ARGUMENT"},
		{`{"data_base64":"","stream":"text","key":"k","data":1}`, `data and data_base64 are both there; one of them is allowed`, "INVALID_ARGUMENT"},
		{`{"stream":"text","key":"k","data":1,"data":2}`, `field data is there twice`, "INVALID_ARGUMENT"},
		{`{"stream":"text","key":"k","data":1,"Time":2}`, `field \"Time\" is unknown` + allowed, "INVALID_ARGUMENT"},
		{`{"stream":"text","key":"k","data":1,"` + strings.Repeat("x", 200) + `":2}`, `field a name of 200 bytes is unknown` + allowed, "INVALID_ARGUMENT"},
		{`{"stream":"text","key":"k","data_base64":"MQ"}`, `data_base64 of 2 characters is not base64 in the standard alphabet with padding`, "INVALID_ARGUMENT"},
		{`{"stream":"text","key":"k","data_base64":5}`, `data_base64 is a number; a string is allowed`, "INVALID_ARGUMENT"},
		{`{"stream":"text","key":"k","data":1,"time":"s3cret"}`, `time of 6 characters is not as RFC 3339 writes it, such as 2006-01-02T15:04:05.999Z`, "INVALID_ARGUMENT"},
		{`{"stream":"text","key":"k","data":1,"time":"2026-11-02T06:00:00,5Z"}`, `time of 22 characters is not as RFC 3339 writes it, such as 2006-01-02T15:04:05.999Z`, "INVALID_ARGUMENT"},
		{`{"stream":"text","key":"k","data":1,"time":1700000000}`, `time is a number; a string is allowed`, "INVALID_ARGUMENT"},
		{`{"stream":"text","key":"k","data":1,"time":"9999-01-01T00:00:00Z"}`, `time in the year 9999 is outside of 1677-09-21 to 2262-04-11`, "INVALID_ARGUMENT"},
		{`{"stream":"text","key":"k","data":1,"attributes":[]}`, `attributes is an array; an object of strings is allowed`, "INVALID_ARGUMENT"},
		{`{"stream":"text","key":"k","data":1,"attributes":{"a":"b","c":true}}`, `attribute \"c\" is a boolean; a string is allowed`, "INVALID_ARGUMENT"},
		{`{"stream":"text","key":"k","data":1,"ack":"never"}`, `ack \"never\" is unknown; \"accepted\", \"durable\" and \"delivered\" are allowed`, "INVALID_ARGUMENT"},
		{`{"stream":"text","key":"k","data":1,"ack":2}`, `ack is a number; a string is allowed`, "INVALID_ARGUMENT"},
		{`{"stream":"text","key":"k","data":1,"producer_id":"p"}`, `producer_id comes without a producer_sequence; sequences start at 1`, "INVALID_ARGUMENT"},
		{`{"stream":"text","key":"k","data":1,"producer_id":"p","producer_sequence":1.5}`, `producer_sequence is a number that is no whole number from 1 to 18446744073709551615`, "INVALID_ARGUMENT"},
		{`{"stream":"text","key":"k","data":"a\nb"}`, `data of 3 bytes has a line break at byte 1; the stream's format text takes one line (data is a JSON string, of which the text is what is stored)`, "INVALID_ARGUMENT"},
		{`{"stream":"json","key":"k","data":"s3cret"}`, `data of 6 bytes is not valid JSON from byte 0 on; the stream's format is json (data is a JSON string, of which the text is what is stored)`, "INVALID_ARGUMENT"},
		{`{"stream":"json","key":"k","data_base64":"ew=="}`, `data of 1 bytes is not valid JSON from byte 1 on; the stream's format is json`, "INVALID_ARGUMENT"},
		{`{"stream":"text","key":"k","data":"` + strings.Repeat("x", 1001) + `"}`, `data has 1001 bytes; max_event_size allows 1000`, "INVALID_ARGUMENT"},
		{`{"stream":"text","key":"k","data":"` + strings.Repeat("x", 2048) + `"}`, `the line has 2085 bytes; a line may have 2048`, "INVALID_ARGUMENT"},
	}
	log, seen := newFakeLog(t), &counts{}
	_, p := serveSocket(t, ingest.Options{Log: log, Observer: seen, MaxLineSize: 2048})
	for i, test := range tests {
		p.send(test.line + "\n" + `{"stream":"text","key":"k","data":"good"}` + "\n")
		got := p.response()
		if want := `{"error":"` + test.text + `","code":"` + test.code + `"}`; got != want {
			t.Errorf("%.100s: got %s, want %s", test.line, got, want)
		}
		if strings.Contains(got, "s3cret") {
			t.Errorf("%.100s: the text repeats the payload: %s", test.line, got)
		}
		p.expect(fmt.Sprintf(`{"offset":%d}`, i+1))
	}
	if got, want := len(log.stored()), len(tests); got != want {
		t.Errorf("stored %d events, want the %d good ones", got, want)
	}
	_, refused := seen.get()
	total := 0
	for _, n := range refused {
		total += n
	}
	if total != len(tests) {
		t.Errorf("counted %v, want %d in all", refused, len(tests))
	}
}

func TestSocketStores(t *testing.T) {
	tests := []struct{ line, data string }{
		{`{"stream":"text","key":"k","data":{"b": [1, 2.50, "x\u0041 "],  "a":null}}`, `{"b":[1,2.50,"x\u0041 "],"a":null}`},
		{` { "data" : [ ] , "key" : "k" , "stream" : "text" } ` + "\r", `[]`},
		{`{"stream":"text","key":"k","data":123456789012345678901234567890.10}`, `123456789012345678901234567890.10`},
		{`{"stream":"text","key":"k","data":-0}`, `-0`},
		{`{"stream":"text","key":"k","data":false}`, `false`},
		{`{"stream":"text","key":"k","data":null}`, `null`},
		{`{"stream":"text","key":"k","data":"say \"\u00e9\" \ud83d\ude00 \/\\\t"}`, "say \"é\" 😀 /\\\t"},
		{`{"stream":"text","key":"k","data":""}`, ``},
		{`{"stream":"bytes","key":"k","data":"a\r\n\b\f\u0000"}`, "a\r\n\b\f\x00"},
		{`{"stream":"bytes","key":"k","data_base64":"AAH/"}`, "\x00\x01\xff"},
		{`{"stream":"bytes","key":"k","data_base64":""}`, ""},
		{`{"stream":"bytes","key":"k","data_base64":"AAH\/"}`, "\x00\x01\xff"},
		{`{"stream":"json","key":"k","data":"{\"a\":1}"}`, `{"a":1}`},
		{`{"stream":"json","key":"k","data_base64":"e30="}`, `{}`},
		{`{"stre\u0061m":"text","key":"k","data":1}`, `1`},
		{`{"stream":"text","key":"k","data":1,"time":null,"attributes":null,"ack":null,"data_base64":null,"producer_id":null}`, `1`},
		{`{"stream":"text","key":"k","data":{"\"":"}{][\"\\"}}`, `{"\"":"}{][\"\\"}`},
	}
	log := newFakeLog(t)
	_, p := serveSocket(t, ingest.Options{Log: log})
	for i, test := range tests {
		p.send(test.line + "\n")
		p.expect(fmt.Sprintf(`{"offset":%d}`, i+1))
	}
	for i, got := range log.stored() {
		if want := tests[i].data; got != want {
			t.Errorf("%s: stored %q, want %q", tests[i].line, got, want)
		}
	}
}

func TestSocketKeepsWhatTheEventSays(t *testing.T) {
	log := newFakeLog(t)
	_, p := serveSocket(t, ingest.Options{Log: log})
	p.send(`{"stream":"text","key":"é","data":1,"time":"2026-11-02T06:00:00.5+01:00","attributes":{"site":"north","b":""}}` + "\n" +
		`{"stream":"text","key":"k","data":1,"producer_id":"p","producer_sequence":18446744073709551614,"time":"1970-01-01t00:00:00z"}` + "\n" +
		`{"stream":"text","key":"k","data":1}`)
	p.finish()
	for i := range 3 {
		p.expect(fmt.Sprintf(`{"offset":%d}`, i+1))
	}
	p.expectEnd()
	events := log.events()
	want := time.Date(2026, 11, 2, 5, 0, 0, 5e8, time.UTC).UnixNano()
	if e := events[0]; e.Key != "é" || e.Time != want || len(e.Attributes) != 2 || e.Attributes["site"] != "north" {
		t.Errorf("event 0: stored %+v, want the time %d", e, want)
	}
	if b := log.batches[1]; b.ProducerID != "p" || b.ProducerSequence != 18446744073709551614 || b.Events[0].Time != 0 {
		t.Errorf("event 1: stored %+v", b)
	}
	if got, want := events[2].Time, testTime.UnixNano(); got != want {
		t.Errorf("event 2: stored time %d, want the agent's clock, %d", got, want)
	}
}

func TestSocketReplies(t *testing.T) {
	log := newFakeLog(t)
	log.refuse[3] = &wal.FullError{Used: 10, Max: 11, RetryAfter: 1500 * time.Millisecond}
	log.refuse[4] = wal.ErrFull
	log.refuse[5] = fmt.Errorf("%w: sync: the outcome is unknown", wal.ErrFailed)
	log.refuse[6] = wal.ErrClosed
	log.lost = true
	_, p := serveSocket(t, ingest.Options{Log: log})
	for _, ack := range []string{"durable", "accepted", "delivered", "durable", "durable", "durable", "durable", "durable"} {
		p.send(`{"stream":"text","key":"k","data":1,"ack":"` + ack + `"}` + "\n")
	}
	p.expect(`{"offset":1}`)
	p.expect(`{"offset":0}`)
	p.expect(`{"offset":3,"ack":"durable"}`)
	p.expect(`{"error":"the log is full: 10 of 11 bytes in use","code":"RESOURCE_EXHAUSTED","retry_after":"1.5s"}`)
	p.expect(`{"error":"the log is full","code":"RESOURCE_EXHAUSTED","retry_after":"1s"}`)
	p.expect(`{"error":"the log has failed: sync: the outcome is unknown","code":"UNAVAILABLE"}`)
	p.expect(`{"error":"the agent is shutting down: nothing of this request was stored","code":"UNAVAILABLE"}`)
	p.expect(`{"offset":4}`)
}

// TestSocketPipelines: many lines are submitted before the first is stored.
func TestSocketPipelines(t *testing.T) {
	log := newFakeLog(t)
	log.hold = make(chan struct{})
	_, p := serveSocket(t, ingest.Options{Log: log})
	const n = 300
	for i := range n {
		p.send(fmt.Sprintf(`{"stream":"text","key":"k","data":%d}`+"\n", i))
	}
	awaitSubmitted(t, log, n)
	close(log.hold)
	for i := range n {
		p.expect(fmt.Sprintf(`{"offset":%d}`, i+1))
	}
}

func TestSocketLineSizes(t *testing.T) {
	const limit = 5 << 20
	log := newFakeLog(t)
	_, p := serveSocket(t, ingest.Options{Log: log, MaxLineSize: limit})
	line := func(size int) string {
		head, tail := `{"stream":"bytes","key":"k","data":"`, `"}`
		return head + strings.Repeat("x", size-len(head)-len(tail)) + tail
	}
	go func() {
		for _, text := range []string{line(limit), line(limit + 1), line(100), line(20 << 20), line(100)} {
			io.WriteString(p.conn, text+"\n")
		}
		io.WriteString(p.conn, line(limit+7))
		p.finish()
	}()
	p.expect(`{"offset":1}`)
	p.expect(fmt.Sprintf(`{"error":"the line has %d bytes; a line may have %d","code":"INVALID_ARGUMENT"}`, limit+1, limit))
	p.expect(`{"offset":2}`)
	p.expect(fmt.Sprintf(`{"error":"the line has %d bytes; a line may have %d","code":"INVALID_ARGUMENT"}`, 20<<20, limit))
	p.expect(`{"offset":3}`)
	p.expect(fmt.Sprintf(`{"error":"the line has %d bytes; a line may have %d","code":"INVALID_ARGUMENT"}`, limit+7, limit))
	p.expectEnd()
}

func TestSocketClosesOnALineWithoutEnd(t *testing.T) {
	_, p := serveSocket(t, ingest.Options{Log: newFakeLog(t)})
	p.send(`{"stream":"bytes","key":"k","data":1}` + "\n")
	go func() {
		part := strings.Repeat("x", 1<<20)
		for range 66 {
			if _, err := io.WriteString(p.conn, part); err != nil {
				return
			}
		}
	}()
	p.expect(`{"offset":1}`)
	got := p.response()
	if !strings.HasPrefix(got, `{"error":"the line has no end within 67`) || !strings.HasSuffix(got, `a line may have 4194304","code":"INVALID_ARGUMENT"}`) {
		t.Errorf("got %s", got)
	}
	if _, err := p.responses.ReadByte(); err == nil {
		t.Error("the connection goes on")
	}
}

// TestSocketLastPart: the bytes before the end of a connection count as a line, whole or not.
func TestSocketLastPart(t *testing.T) {
	for part, want := range map[string]string{
		`{"stream":"text","key":"k","data":1}`: `{"offset":1}`,
		`{"stream":"text","key":"k","data":1`:  `{"error":"the line of 35 bytes is not valid JSON from byte 35 on","code":"INVALID_ARGUMENT"}`,
	} {
		_, p := serveSocket(t, ingest.Options{Log: newFakeLog(t)})
		p.send(part)
		p.finish()
		p.expect(want)
		p.expectEnd()
	}
}

func TestSocketStopAnswersWhatWasTaken(t *testing.T) {
	log := newFakeLog(t)
	log.hold = make(chan struct{})
	server, p := serveSocket(t, ingest.Options{Log: log})
	idle := connect(t, server.Addr())
	p.send(strings.Repeat(`{"stream":"text","key":"k","data":1}`+"\n", 20) + `{"stream":"text","key":"k","data":1}`)
	awaitSubmitted(t, log, 20)
	stopped := make(chan error, 1)
	go func() { stopped <- server.Stop(context.Background()) }()
	idle.expectEnd()
	close(log.hold)
	for i := range 20 {
		p.expect(fmt.Sprintf(`{"offset":%d}`, i+1))
	}
	p.expectEnd()
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if got := len(log.stored()); got != 20 {
		t.Errorf("stored %d events, want the 20 whole lines", got)
	}
}

// TestSocketOfAProducerThatNeverReads: it stops being read from, and Stop cuts it off.
func TestSocketOfAProducerThatNeverReads(t *testing.T) {
	log := newFakeLog(t)
	server, p := serveSocket(t, ingest.Options{Log: log})
	lines := strings.Repeat(`{"stream":"text","key":"k","data":1,"ack":"never"}`+"\n", 1000)
	// Until nothing is taken, twice in a row: on a loaded machine a deadline may pass before anybody ran.
	for waits, rest := 0, lines; waits < 2; waits++ {
		p.conn.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
		n, _ := io.WriteString(p.conn, rest)
		if n > 0 {
			waits, rest = -1, rest[n:]
		}
		if rest == "" {
			rest = lines
		}
	}
	if err := stopNow(server); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want that the deadline passed", err)
	}
}

func TestSocketTokens(t *testing.T) {
	o := ingest.Options{Log: newFakeLog(t), Network: "tcp", Address: "127.0.0.1:0", Guard: tokens(t, "good")}
	server, p := serveSocket(t, o)
	p.send(`{"token":"good"}` + "\n" + `{"stream":"text","key":"k","data":1}` + "\n")
	p.expect(`{"offset":1}`)
	const none = `no token is shown; a connection may begin with {\"token\":\"...\"}`
	for first, want := range map[string]string{
		`{"token":"bad"}`: `the token is not known here`, `{"stream":"text","key":"k","data":1}`: none, `x`: none,
	} {
		p := connect(t, server.Addr())
		p.send(first + "\n" + `{"stream":"text","key":"k","data":1}` + "\n")
		p.finish()
		p.expect(`{"error":"` + want + `","code":"UNAUTHENTICATED"}`)
		p.expectEnd()
	}
}

func TestSocketManyProducers(t *testing.T) {
	log := newFakeLog(t)
	server, _ := serveSocket(t, ingest.Options{Log: log})
	done := make(chan struct{})
	const producers, lines = 8, 200
	for n := range producers {
		go func() {
			defer func() { done <- struct{}{} }()
			p := connect(t, server.Addr())
			for i := range lines {
				fmt.Fprintf(p.conn, `{"stream":"text","key":"k","data":"%d %d"}`+"\n", n, i)
			}
			for range lines {
				p.response()
			}
		}()
	}
	for range producers {
		<-done
	}
	next := make([]int, producers)
	for _, data := range log.stored() {
		var n, i int
		fmt.Sscan(data, &n, &i)
		if next[n] != i {
			t.Fatalf("producer %d: line %d is stored after %d others", n, i, next[n])
		}
		next[n]++
	}
	if want := slices.Repeat([]int{lines}, producers); !slices.Equal(next, want) {
		t.Errorf("stored %v, want %v", next, want)
	}
}
