package socketin_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/standpipe/standpipe/agent/ingest"
	"github.com/standpipe/standpipe/agent/internal/access/accesstest"
	"github.com/standpipe/standpipe/test/ingestkit"
	"github.com/standpipe/standpipe/wal"
)

func TestSocket_Rejections(t *testing.T) {
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
	log, seen := ingestkit.NewLog(t), &ingestkit.Counts{}
	_, p := ingestkit.ServeSocket(t, ingest.Options{Log: log, Observer: seen, MaxLineSize: 2048})
	for i, test := range tests {
		p.Send(test.line + "\n" + `{"stream":"text","key":"k","data":"good"}` + "\n")
		got := p.Response()
		if want := `{"error":"` + test.text + `","code":"` + test.code + `"}`; got != want {
			t.Errorf("%.100s: got %s, want %s", test.line, got, want)
		}
		if strings.Contains(got, "s3cret") {
			t.Errorf("%.100s: the text repeats the payload: %s", test.line, got)
		}
		p.Expect(fmt.Sprintf(`{"offset":%d}`, i+1))
	}
	if got, want := len(log.Stored()), len(tests); got != want {
		t.Errorf("stored %d events, want the %d good ones", got, want)
	}
	_, refused := seen.Get()
	total := 0
	for _, n := range refused {
		total += n
	}
	if total != len(tests) {
		t.Errorf("counted %v, want %d in all", refused, len(tests))
	}
}

func TestSocket_Stores(t *testing.T) {
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
	log := ingestkit.NewLog(t)
	_, p := ingestkit.ServeSocket(t, ingest.Options{Log: log})
	for i, test := range tests {
		p.Send(test.line + "\n")
		p.Expect(fmt.Sprintf(`{"offset":%d}`, i+1))
	}
	for i, got := range log.Stored() {
		if want := tests[i].data; got != want {
			t.Errorf("%s: stored %q, want %q", tests[i].line, got, want)
		}
	}
}

func TestSocket_KeepsTheEvent(t *testing.T) {
	log := ingestkit.NewLog(t)
	_, p := ingestkit.ServeSocket(t, ingest.Options{Log: log})
	p.Send(`{"stream":"text","key":"é","data":1,"time":"2026-11-02T06:00:00.5+01:00","attributes":{"site":"north","b":""}}` + "\n" +
		`{"stream":"text","key":"k","data":1,"producer_id":"p","producer_sequence":18446744073709551614,"time":"1970-01-01t00:00:00z"}` + "\n" +
		`{"stream":"text","key":"k","data":1}`)
	p.Finish()
	for i := range 3 {
		p.Expect(fmt.Sprintf(`{"offset":%d}`, i+1))
	}
	p.ExpectEnd()
	events := log.Events()
	want := time.Date(2026, 11, 2, 5, 0, 0, 5e8, time.UTC).UnixNano()
	if e := events[0]; e.Key != "é" || e.Time != want || len(e.Attributes) != 2 || e.Attributes["site"] != "north" {
		t.Errorf("event 0: stored %+v, want the time %d", e, want)
	}
	if b := log.Batches[1]; b.ProducerID != "p" || b.ProducerSequence != 18446744073709551614 || b.Events[0].Time != 0 {
		t.Errorf("event 1: stored %+v", b)
	}
	if got, want := events[2].Time, ingestkit.Now.UnixNano(); got != want {
		t.Errorf("event 2: stored time %d, want the agent's clock, %d", got, want)
	}
}

func TestSocket_Responses(t *testing.T) {
	log := ingestkit.NewLog(t)
	log.Refuse[3] = &wal.FullError{Used: 10, Max: 11, RetryAfter: 1500 * time.Millisecond}
	log.Refuse[4] = wal.ErrFull
	log.Refuse[5] = fmt.Errorf("%w: sync: the outcome is unknown", wal.ErrFailed)
	log.Refuse[6] = wal.ErrClosed
	log.Lost = true
	_, p := ingestkit.ServeSocket(t, ingest.Options{Log: log})
	for _, ack := range []string{"durable", "accepted", "delivered", "durable", "durable", "durable", "durable", "durable"} {
		p.Send(`{"stream":"text","key":"k","data":1,"ack":"` + ack + `"}` + "\n")
	}
	p.Expect(`{"offset":1}`)
	p.Expect(`{"offset":0}`)
	p.Expect(`{"offset":3,"ack":"durable"}`)
	p.Expect(`{"error":"the log is full: 10 of 11 bytes in use","code":"RESOURCE_EXHAUSTED","retry_after":"1.5s"}`)
	p.Expect(`{"error":"the log is full","code":"RESOURCE_EXHAUSTED","retry_after":"1s"}`)
	p.Expect(`{"error":"the log has failed: sync: the outcome is unknown","code":"UNAVAILABLE"}`)
	p.Expect(`{"error":"the agent is shutting down: nothing of this request was stored","code":"UNAVAILABLE"}`)
	p.Expect(`{"offset":4}`)
}

// TestSocket_Pipelines: many lines are submitted before the first is stored.
func TestSocket_Pipelines(t *testing.T) {
	log := ingestkit.NewLog(t)
	log.Hold = make(chan struct{})
	_, p := ingestkit.ServeSocket(t, ingest.Options{Log: log})
	const n = 300
	for i := range n {
		p.Send(fmt.Sprintf(`{"stream":"text","key":"k","data":%d}`+"\n", i))
	}
	ingestkit.AwaitSubmitted(t, log, n)
	close(log.Hold)
	for i := range n {
		p.Expect(fmt.Sprintf(`{"offset":%d}`, i+1))
	}
}

func TestSocket_LineSizes(t *testing.T) {
	const limit = 5 << 20
	log := ingestkit.NewLog(t)
	_, p := ingestkit.ServeSocket(t, ingest.Options{Log: log, MaxLineSize: limit})
	line := func(size int) string {
		head, tail := `{"stream":"bytes","key":"k","data":"`, `"}`
		return head + strings.Repeat("x", size-len(head)-len(tail)) + tail
	}
	go func() {
		for _, text := range []string{line(limit), line(limit + 1), line(100), line(20 << 20), line(100)} {
			io.WriteString(p.Conn, text+"\n")
		}
		io.WriteString(p.Conn, line(limit+7))
		p.Finish()
	}()
	p.Expect(`{"offset":1}`)
	p.Expect(fmt.Sprintf(`{"error":"the line has %d bytes; a line may have %d","code":"INVALID_ARGUMENT"}`, limit+1, limit))
	p.Expect(`{"offset":2}`)
	p.Expect(fmt.Sprintf(`{"error":"the line has %d bytes; a line may have %d","code":"INVALID_ARGUMENT"}`, 20<<20, limit))
	p.Expect(`{"offset":3}`)
	p.Expect(fmt.Sprintf(`{"error":"the line has %d bytes; a line may have %d","code":"INVALID_ARGUMENT"}`, limit+7, limit))
	p.ExpectEnd()
}

func TestSocket_ClosesOnALineWithoutEnd(t *testing.T) {
	_, p := ingestkit.ServeSocket(t, ingest.Options{Log: ingestkit.NewLog(t)})
	p.Send(`{"stream":"bytes","key":"k","data":1}` + "\n")
	go func() {
		part := strings.Repeat("x", 1<<20)
		for range 66 {
			if _, err := io.WriteString(p.Conn, part); err != nil {
				return
			}
		}
	}()
	p.Expect(`{"offset":1}`)
	got := p.Response()
	if !strings.HasPrefix(got, `{"error":"the line has no end within 67`) || !strings.HasSuffix(got, `a line may have 4194304","code":"INVALID_ARGUMENT"}`) {
		t.Errorf("got %s", got)
	}
	if _, err := p.Responses.ReadByte(); err == nil {
		t.Error("the connection goes on")
	}
}

// TestSocket_LastPart: the bytes before the end of a connection count as a line, whole or not.
func TestSocket_LastPart(t *testing.T) {
	for part, want := range map[string]string{
		`{"stream":"text","key":"k","data":1}`: `{"offset":1}`,
		`{"stream":"text","key":"k","data":1`:  `{"error":"the line of 35 bytes is not valid JSON from byte 35 on","code":"INVALID_ARGUMENT"}`,
	} {
		_, p := ingestkit.ServeSocket(t, ingest.Options{Log: ingestkit.NewLog(t)})
		p.Send(part)
		p.Finish()
		p.Expect(want)
		p.ExpectEnd()
	}
}

func TestSocket_StopRespondsToSubmittedLines(t *testing.T) {
	log := ingestkit.NewLog(t)
	log.Hold = make(chan struct{})
	server, p := ingestkit.ServeSocket(t, ingest.Options{Log: log})
	idle := ingestkit.Connect(t, server.Addr())
	idle.Send("nothing\n")
	idle.Response() // of an invalid line: the connection is served
	p.Send(strings.Repeat(`{"stream":"text","key":"k","data":1}`+"\n", 20) + `{"stream":"text","key":"k","data":1}`)
	ingestkit.AwaitSubmitted(t, log, 20)
	stopped := make(chan error, 1)
	go func() { stopped <- server.Stop(context.Background()) }()
	idle.ExpectEnd()
	close(log.Hold)
	for i := range 20 {
		p.Expect(fmt.Sprintf(`{"offset":%d}`, i+1))
	}
	p.ExpectEnd()
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if got := len(log.Stored()); got != 20 {
		t.Errorf("stored %d events, want the 20 whole lines", got)
	}
}

// TestSocket_OfAProducerThatNeverReads: it stops being read from, and Stop cuts it off.
func TestSocket_OfAProducerThatNeverReads(t *testing.T) {
	log := ingestkit.NewLog(t)
	server, p := ingestkit.ServeSocket(t, ingest.Options{Log: log})
	lines := strings.Repeat(`{"stream":"text","key":"k","data":1,"ack":"never"}`+"\n", 1000)
	// Until nothing is taken, five times in a row: on a loaded machine a deadline may pass before anybody ran.
	for waits, rest := 0, lines; waits < 5; waits++ {
		p.Conn.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
		n, _ := io.WriteString(p.Conn, rest)
		if n > 0 {
			waits, rest = -1, rest[n:]
		}
		if rest == "" {
			rest = lines
		}
	}
	if err := ingestkit.StopNow(server); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want that the deadline passed", err)
	}
}

func TestSocket_Tokens(t *testing.T) {
	o := ingest.Options{Log: ingestkit.NewLog(t), Network: "tcp", Address: "127.0.0.1:0", Guard: accesstest.Tokens(t, "good")}
	server, p := ingestkit.ServeSocket(t, o)
	p.Send(`{"token":"good"}` + "\n" + `{"stream":"text","key":"k","data":1}` + "\n")
	p.Expect(`{"offset":1}`)
	const none = `no token is shown; a connection may begin with {\"token\":\"...\"}`
	for first, want := range map[string]string{
		`{"token":"bad"}`: `the token is not known here`, `{"stream":"text","key":"k","data":1}`: none, `x`: none,
	} {
		p := ingestkit.Connect(t, server.Addr())
		p.Send(first + "\n" + `{"stream":"text","key":"k","data":1}` + "\n")
		p.Finish()
		p.Expect(`{"error":"` + want + `","code":"UNAUTHENTICATED"}`)
		p.ExpectEnd()
	}
}

func TestSocket_ManyProducers(t *testing.T) {
	log := ingestkit.NewLog(t)
	server, _ := ingestkit.ServeSocket(t, ingest.Options{Log: log})
	done := make(chan struct{})
	const producers, lines = 8, 200
	for n := range producers {
		go func() {
			defer func() { done <- struct{}{} }()
			p := ingestkit.Connect(t, server.Addr())
			for i := range lines {
				fmt.Fprintf(p.Conn, `{"stream":"text","key":"k","data":"%d %d"}`+"\n", n, i)
			}
			for range lines {
				p.Response()
			}
		}()
	}
	for range producers {
		<-done
	}
	next := make([]int, producers)
	for _, data := range log.Stored() {
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
