package httpin_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/standpipe/standpipe/agent/ingest"
	"github.com/standpipe/standpipe/agent/internal/access/accesstest"
	"github.com/standpipe/standpipe/test/ingestkit"
	"github.com/standpipe/standpipe/wal"
)

func TestPost_StoresABodyAsItIs(t *testing.T) {
	log := ingestkit.NewLog(t)
	w := ingestkit.ServeHTTP(t, ingest.Options{Log: log})
	for i, body := range []string{`{"a": 1.50}`, "{\"a\":2}\n", "{\"a\":3}\r\n", `"x"`} {
		if got := w.Post("json?key=u1", body); got.Status != 200 || got.Body != fmt.Sprintf("{\"offset\":%d,\"count\":1}\n", i+1) {
			t.Errorf("%q: got %d %s", body, got.Status, got.Body)
		}
	}
	w.Post("bytes?key=u1", "a\nb\r\n")
	w.Post("text", "", "X-Partition-Key: k")
	if got, want := log.Stored(), []string{`{"a": 1.50}`, `{"a":2}`, `{"a":3}`, `"x"`, "a\nb\r\n", ""}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestPost_Lines(t *testing.T) {
	log := ingestkit.NewLog(t)
	w := ingestkit.ServeHTTP(t, ingest.Options{Log: log, HTTP: ingest.HTTPOptions{KeyField: "user.id"}})
	body := "{\"user\":{\"id\":\"u1\"}}\n\r\n\n{\"user\":{\"id\":7}}\r\n" + `{"user":{"id":1,"\u0069d":"l\u00e4st"}}`
	if got := w.Post("json", body, ingestkit.Lines); got.Status != 200 || got.Offset != 1 || got.Count != 3 {
		t.Fatalf("got %d %s", got.Status, got.Body)
	}
	var keys []string
	for _, e := range log.Events() {
		keys = append(keys, e.Key)
	}
	if want := []string{"u1", "7", "läst"}; !slices.Equal(keys, want) {
		t.Errorf("got keys %q, want %q", keys, want)
	}
	if got := w.Post("json?key=k", "{}\n{}\n", ingestkit.Lines); got.Status != 200 || got.Count != 2 {
		t.Errorf("a key for all lines: got %d %s", got.Status, got.Body)
	}
}

func TestPost_CarriesTimeAttributesAndProducer(t *testing.T) {
	log := ingestkit.NewLog(t)
	w := ingestkit.ServeHTTP(t, ingest.Options{Log: log, HTTP: ingest.HTTPOptions{KeyHeader: "x-device"}})
	got := w.Post("text?ack=durable", "x", "X-Device: d1", "X-Event-Time: 2026-11-02T06:00:00.5Z",
		"X-Attribute-Site: north", "X-Producer-Id: p", "X-Producer-Sequence: 5")
	if got.Status != 200 {
		t.Fatalf("got %d %s", got.Status, got.Body)
	}
	b := log.Batches[0]
	e := b.Events[0]
	at := time.Date(2026, 11, 2, 6, 0, 0, 5e8, time.UTC).UnixNano()
	if e.Key != "d1" || e.Time != at || e.Attributes["site"] != "north" || b.ProducerID != "p" || b.ProducerSequence != 5 {
		t.Errorf("got %+v of %s, %d", e, b.ProducerID, b.ProducerSequence)
	}
	w.Post("text?key=q&time=2026-11-02T06:00:00.5Z", "x", "X-Device: d1", "X-Event-Time: 2020-01-01T00:00:00Z")
	if e := log.Events()[1]; e.Key != "q" || e.Time != at {
		t.Errorf("got %+v, want the query to go before the headers", e)
	}
}

func TestPost_AckLevels(t *testing.T) {
	log := ingestkit.NewLog(t)
	log.Lost = true
	w := ingestkit.ServeHTTP(t, ingest.Options{Log: log})
	if got := w.Post("text?key=k&ack=accepted", "x"); got.Status != 202 || got.Body != "{\"offset\":0,\"count\":1}\n" {
		t.Errorf("accepted: got %d %s", got.Status, got.Body)
	}
	if got := w.Post("text?key=k&ack=delivered", "x"); got.Status != 200 || got.Ack != "durable" {
		t.Errorf("delivered, but dead: got %d %s", got.Status, got.Body)
	}
	if got := w.Post("loose?key=k", "x"); got.Status != 202 {
		t.Errorf("the stream's level: got %d %s", got.Status, got.Body)
	}
}

func TestPost_CompressedBodies(t *testing.T) {
	log := ingestkit.NewLog(t)
	w := ingestkit.ServeHTTP(t, ingest.Options{Log: log, MaxRequestSize: 1 << 20})
	for _, coding := range []string{"gzip", "zstd", "identity"} {
		for _, size := range []int{0, 1, 5000, 1 << 20} {
			data := strings.Repeat("x", size)
			body := data
			if coding != "identity" {
				body = ingestkit.Compress(t, coding, data)
			}
			got := w.Post("bytes?key=k", body, "Content-Encoding: "+coding)
			if all := log.Stored(); got.Status != 200 || all[len(all)-1] != data {
				t.Errorf("%s of %d bytes: got %d %s", coding, size, got.Status, got.Body)
			}
		}
	}
}

// TestPost_Bomb: the decompressed body is held to the limit during decompression.
func TestPost_Bomb(t *testing.T) {
	log := ingestkit.NewLog(t)
	w := ingestkit.ServeHTTP(t, ingest.Options{Log: log, MaxRequestSize: 1 << 20})
	for _, coding := range []string{"gzip", "zstd"} {
		bomb := ingestkit.Compress(t, coding, strings.Repeat("\x00", 32<<20))
		before := ingestkit.Allocated()
		got := w.Post("bytes?key=k", bomb, "Content-Encoding: "+coding)
		if got.Status != 413 || !strings.Contains(got.Error, "more than 1048576 bytes") {
			t.Errorf("%s: got %d %s", coding, got.Status, got.Body)
		}
		if took := ingestkit.Allocated() - before; took > 24<<20 {
			t.Errorf("%s: %d bytes were allocated for a body of %d that may unpack to 1 MiB", coding, took, len(bomb))
		}
	}
	if got := log.Stored(); len(got) != 0 {
		t.Errorf("stored %d events", len(got))
	}
}

// windowOf128MiB is "{}" as zstd with a window of 128 MiB (RFC 8878, section 3.1.1.1.2).
const windowOf128MiB = "\x28\xb5\x2f\xfd\x00\x88\x11\x00\x00{}"

func TestPost_Rejections(t *testing.T) {
	log := ingestkit.NewLog(t)
	var seen ingestkit.Counts
	w := ingestkit.ServeHTTP(t, ingest.Options{
		Log: log, Observer: &seen, MaxRequestSize: 5000,
		HTTP: ingest.HTTPOptions{KeyField: "id", Pixels: []ingest.Pixel{{Path: "/p.gif", Stream: "json", Key: "uid"}}},
	})
	for _, tt := range []struct {
		method, path, body string
		headers            []string
		status             int
		code, words        string
	}{
		{"POST", "/v1/streams/nowhere?key=k", "x", nil, 404, "NOT_FOUND", "nowhere"},
		{"POST", "/v1/streams/", "x", nil, 400, "INVALID_ARGUMENT", "name of the stream is missing"},
		{"POST", "/v1/streams/opening?key=k", "x", nil, 503, "UNAVAILABLE", "no such folder"},
		{"POST", "/v1/stream/json", "x", nil, 404, "INVALID_ARGUMENT", "nothing at this path"},
		{"GET", "/", "", nil, 404, "INVALID_ARGUMENT", "nothing at this path"},
		{"GET", "/v1/streams/json", "", nil, 405, "INVALID_ARGUMENT", "POST is"},
		{"POST", "/p.gif", "", nil, 405, "INVALID_ARGUMENT", "GET is"},
		{"GET", "/p.gif?a=1", "", nil, 400, "INVALID_ARGUMENT", `"uid"`},
		{"GET", "/p.gif?uid=%zz", "", nil, 400, "INVALID_ARGUMENT", "query"},
		{"POST", "/v1/streams/json?kye=k", "{}", nil, 400, "INVALID_ARGUMENT", `"kye", which is unknown`},
		{"POST", "/v1/streams/json?key=k&key=l", "{}", nil, 400, "INVALID_ARGUMENT", "2 times"},
		{"POST", "/v1/streams/json?key=%f", "{}", nil, 400, "INVALID_ARGUMENT", "query"},
		{"POST", "/v1/streams/json?key=%ff", "{}", nil, 400, "INVALID_ARGUMENT", "UTF-8"},
		{"POST", "/v1/streams/json?key=" + strings.Repeat("x", 257), "{}", nil, 400, "INVALID_ARGUMENT", "257 characters"},
		{"POST", "/v1/streams/json?key=k&ack=never", "{}", nil, 400, "INVALID_ARGUMENT", `"never"`},
		{"POST", "/v1/streams/json?key=k&time=today", "{}", nil, 400, "INVALID_ARGUMENT", "RFC 3339"},
		{"POST", "/v1/streams/json?key=k", "{}", []string{"X-Producer-Sequence: one"}, 400, "INVALID_ARGUMENT", "X-Producer-Sequence"},
		{"POST", "/v1/streams/json?key=k", "{}", []string{"X-Producer-Sequence: 1"}, 400, "INVALID_ARGUMENT", "producer_id"},
		{"POST", "/v1/streams/json?key=k", "{}", []string{"X-Attribute-A: \xff"}, 400, "INVALID_ARGUMENT", "UTF-8"},
		{"POST", "/v1/streams/json?key=k", "{", nil, 422, "INVALID_ARGUMENT", "not valid JSON"},
		{"POST", "/v1/streams/json?key=k", "{\n}", nil, 422, "INVALID_ARGUMENT", "line break"},
		{"POST", "/v1/streams/json", "{", nil, 422, "INVALID_ARGUMENT", "not valid JSON"},
		{"POST", "/v1/streams/json", "{}", nil, 400, "INVALID_ARGUMENT", `"id" is missing; ?key= gives a key without it`},
		{"POST", "/v1/streams/json", "[]", nil, 400, "INVALID_ARGUMENT", `no object holds "id"`},
		{"POST", "/v1/streams/json", `{"id":true}`, nil, 400, "INVALID_ARGUMENT", "a boolean"},
		{"POST", "/v1/streams/json?key=k", `"` + strings.Repeat("x", 1000) + `"`, nil, 413, "INVALID_ARGUMENT", "max_event_size"},
		{"POST", "/v1/streams/bytes?key=k", strings.Repeat("x", 5001), nil, 413, "INVALID_ARGUMENT", "5001 bytes"},
		{"POST", "/v1/streams/json?key=k", "{}", []string{"Content-Encoding: br"}, 415, "INVALID_ARGUMENT", "gzip, zstd"},
		{"POST", "/v1/streams/json?key=k", "{}", []string{"Content-Encoding: gzip"}, 400, "INVALID_ARGUMENT", "no whole gzip"},
		{"POST", "/v1/streams/json?key=k", ingestkit.Compress(t, "zstd", "{}")[:8], []string{"Content-Encoding: zstd"}, 400, "INVALID_ARGUMENT", "no whole zstd"},
		{"POST", "/v1/streams/json?key=k", windowOf128MiB, []string{"Content-Encoding: zstd"}, 400, "INVALID_ARGUMENT", "window size exceeded"},
		{"POST", "/v1/streams/json?key=k", "\n\n", []string{ingestkit.Lines}, 400, "INVALID_ARGUMENT", "0 events"},
		{"POST", "/v1/streams/json?key=k", "{}", []string{"Origin: https://evil.example"}, 403, "PERMISSION_DENIED", "cors_origins"},
	} {
		got := w.Do(tt.method, tt.path, tt.body, tt.headers...)
		if got.Status != tt.status || got.Code != tt.code || !strings.Contains(got.Error, tt.words) {
			t.Errorf("%s %.60s %q: got %d %s, want %d %s and %q", tt.method, tt.path, tt.headers, got.Status, got.Body, tt.status, tt.code, tt.words)
		}
		if retry := got.Header.Get("Retry-After"); (retry != "") != (tt.status == 503) {
			t.Errorf("%s %.60s: got Retry-After %q", tt.method, tt.path, retry)
		}
	}
	if got := log.Stored(); len(got) != 0 {
		t.Errorf("stored %q", got)
	}
	if _, refused := seen.Get(); refused["json/format"] != 3 || refused["/no_stream"] != 2 || refused["bytes/too_large"] != 1 {
		t.Errorf("got %v", refused)
	}
}

func TestPost_NamesTheLine(t *testing.T) {
	log := ingestkit.NewLog(t)
	var seen ingestkit.Counts
	w := ingestkit.ServeHTTP(t, ingest.Options{Log: log, Observer: &seen})
	got := w.Post("json?key=k", "{}\n\n{\"a\":1}\n{\n{}\n", ingestkit.Lines)
	if got.Status != 422 || got.Event != 2 || got.Line != 4 || !strings.HasPrefix(got.Error, "event 2 (line 4): ") {
		t.Errorf("got %d %s", got.Status, got.Body)
	}
	if n := len(log.Stored()); n != 0 {
		t.Errorf("stored %d events of a body with a bad line", n)
	}
	if _, refused := seen.Get(); refused["json/format"] != 4 {
		t.Errorf("got %v, want all 4 counted", refused)
	}
}

func TestPost_ErrorsOfTheLog(t *testing.T) {
	log := ingestkit.NewLog(t)
	log.Refuse = map[int]error{0: &wal.FullError{RetryAfter: 1500 * time.Millisecond}, 1: wal.ErrFailed, 2: wal.ErrSequence}
	w := ingestkit.ServeHTTP(t, ingest.Options{Log: log})
	for _, want := range []struct {
		status      int
		code, retry string
	}{{429, "RESOURCE_EXHAUSTED", "2"}, {503, "UNAVAILABLE", "1"}, {409, "INVALID_ARGUMENT", ""}, {200, "", ""}} {
		got := w.Post("text?key=k", "x")
		if got.Status != want.status || got.Code != want.code || got.Header.Get("Retry-After") != want.retry {
			t.Errorf("got %d %s, Retry-After %q, want %+v", got.Status, got.Body, got.Header.Get("Retry-After"), want)
		}
	}
}

func TestPost_Tokens(t *testing.T) {
	var seen ingestkit.Counts
	w := ingestkit.ServeHTTP(t, ingest.Options{Log: ingestkit.NewLog(t), Observer: &seen, Guard: accesstest.Tokens(t, "s3cret")})
	for header, want := range map[string]int{
		"X-None: 1": 401, "Authorization: Bearer wrong": 401, "Authorization: Negotiate s3cret": 401, "Authorization: Basic !": 401,
		"Authorization: Bearer s3cret": 200, "Authorization: bearer  s3cret": 200,
		"Authorization: Basic YW55Ym9keTpzM2NyZXQ=": 200, "Authorization: Basic YW55Ym9keTp3cm9uZw==": 401,
	} {
		got := w.Post("text?key=k", "x", header)
		if got.Status != want || (got.Header.Get("WWW-Authenticate") != "") != (want == 401) {
			t.Errorf("%s: got %d %s, want %d", header, got.Status, got.Body, want)
		}
	}
	if _, refused := seen.Get(); refused["/unauthenticated"] != 5 {
		t.Errorf("got %v", refused)
	}
}

func TestPages_OfListedOrigins(t *testing.T) {
	w := ingestkit.ServeHTTP(t, ingest.Options{
		Log: ingestkit.NewLog(t), HTTP: ingest.HTTPOptions{Origins: []string{"https://shop.example"}},
		Guard: accesstest.Tokens(t, "s3cret"),
	})
	asked := w.Do("OPTIONS", "/v1/streams/text", "", "Origin: https://shop.example", "Access-Control-Request-Method: POST")
	h := asked.Header
	if asked.Status != 204 || h.Get("Access-Control-Allow-Origin") != "https://shop.example" || h.Get("Access-Control-Allow-Methods") != "POST" ||
		!strings.Contains(h.Get("Access-Control-Allow-Headers"), "X-Partition-Key") || h.Get("Vary") != "Origin" {
		t.Errorf("got %d %v", asked.Status, h)
	}
	if got := w.Post("text?key=k", "x", "Origin: https://shop.example"); got.Status != 401 || got.Header.Get("Access-Control-Allow-Origin") == "" {
		t.Errorf("got %d %v, want the page to be able to read why", got.Status, got.Header)
	}
	if got := w.Do("OPTIONS", "/v1/streams/text", "", "Origin: https://evil.example"); got.Status != 403 || got.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("got %d %v", got.Status, got.Header)
	}
}

func TestPixel_RecordsItsQuery(t *testing.T) {
	log := ingestkit.NewLog(t)
	w := ingestkit.ServeHTTP(t, ingest.Options{Log: log, HTTP: ingest.HTTPOptions{
		Pixels: []ingest.Pixel{{Path: "/p.gif", Stream: "json", Key: "uid", Headers: []string{"Referer", "X-Absent"}}},
	}})
	got := w.Do("GET", "/p.gif?uid=u1&page=%2F%3Ca%3E&tag=a&tag=b", "", "Referer: https://shop.example/")
	if got.Status != 204 || got.Body != "" || got.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("got %d %q %v", got.Status, got.Body, got.Header)
	}
	want := `{"path":"/p.gif","query":{"page":"/<a>","tag":["a","b"],"uid":"u1"},"headers":{"Referer":"https://shop.example/"}}`
	if e := log.Events()[0]; string(e.Data) != want || e.Key != "u1" || e.Time != ingestkit.Now.UnixNano() {
		t.Errorf("got %s under %q, want %s", e.Data, e.Key, want)
	}
}
