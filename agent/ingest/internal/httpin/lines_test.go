package httpin_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/standpipe/standpipe/agent/ingest"
	"github.com/standpipe/standpipe/agent/internal/access/accesstest"
	"github.com/standpipe/standpipe/test/ingestkit"
)

func TestLines_GoByManyNames(t *testing.T) {
	log := ingestkit.NewLog(t)
	w := ingestkit.ServeHTTP(t, ingest.Options{Log: log})
	for _, kind := range []string{
		"application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines", "application/jsonlines",
		"application/json-lines", "application/x-json-lines", "application/x-ldjson", "text/x-ndjson", "text/ndjson", "text/jsonl",
	} {
		for _, kind := range []string{kind, strings.ToUpper(kind), kind + "; charset=utf-8", kind + `;charset="UTF-8"`} {
			for _, stream := range []string{"json", "text", "bytes"} {
				if got := w.Post(stream+"?key=k", "{}\n\n{}\r\n", "Content-Type: "+kind); got.Status != 200 || got.Count != 2 {
					t.Errorf("%s to %s: got %d %s", kind, stream, got.Status, got.Body)
				}
			}
		}
	}
	before := len(log.Stored())
	for _, stream := range []string{"json", "bytes"} {
		got := w.Post(stream+"?key=k", "\x1e{}\n\x1e{}\n", "Content-Type: application/json-seq")
		if got.Status != 415 || !strings.Contains(got.Error, "application/x-ndjson is") || len(log.Stored()) != before {
			t.Errorf("json-seq to %s: got %d %s", stream, got.Status, got.Body)
		}
	}
}

// The rejection of a body with several lines names the content type that allows them.
func TestBodies_OfSeveralLinesAreToldHowToGo(t *testing.T) {
	w := ingestkit.ServeHTTP(t, ingest.Options{Log: ingestkit.NewLog(t), HTTP: ingest.HTTPOptions{KeyField: "id"}})
	const hint = "; Content-Type: application/x-ndjson is for one event a line"
	for _, tt := range []struct {
		path, kind, body string
		hinted           bool
	}{
		{"json?key=k", "application/json", "{}\n{}\n", true},
		{"json?key=k", "text/plain;charset=UTF-8", "{}\r\n{}", true},
		{"json", "application/json", "{\"id\":1}\n{\"id\":2}\n", true},
		{"text?key=k", "text/plain", "a\nb\n", true},
		{"json?key=k", "application/json", "{\n \"a\": 1\n}\n", false},
		{"json?key=k", "application/json", "\ufeff{\n}\n", false},
		{"json?key=k", "application/json", "{", false},
		{"json?key=k", "application/json", "{\n", false},
		{"json?key=k", "application/x-ndjson", "{\n}\n", false},
	} {
		got := w.Post(tt.path, tt.body, "Content-Type: "+tt.kind)
		if got.Status != 422 || strings.HasSuffix(got.Error, hint) != tt.hinted {
			t.Errorf("%s %q to %s: got %d %s", tt.kind, tt.body, tt.path, got.Status, got.Body)
		}
	}
	for path, hinted := range map[string]bool{
		"json?key=k&time=2026-11-21T10:00:00+01:00": true, "json?key=k&time=2026-11-21+10:00:00": true, "json?key=k&time=today": false,
	} {
		if got := w.Post(path, "{}"); got.Status != 400 || strings.HasSuffix(got.Error, "; in a query + is written %2B") != hinted {
			t.Errorf("%s: got %d %s", path, got.Status, got.Body)
		}
	}
	if got := w.Post("json?key=k&time=2026-11-21T10:00:00%2B01:00", "{}"); got.Status != 200 {
		t.Errorf("got %d %s", got.Status, got.Body)
	}
}

const mark = "\ufeff" // as it stands at the beginning of files

func TestByteOrderMark_BeforeTextIsPassedOver(t *testing.T) {
	log := ingestkit.NewLog(t)
	w := ingestkit.ServeHTTP(t, ingest.Options{Log: log, HTTP: ingest.HTTPOptions{KeyField: "id"}})
	for i, tt := range []struct{ path, kind, body string }{
		{"json?key=k", "application/json", mark + `{"id":1}`},
		{"json?key=k", "application/json", mark + "{\"id\":1}\r\n"},
		{"json", "application/json", mark + `{"id":1}`},
		{"json?key=k", "application/x-ndjson", mark + "{\"id\":1}\r\n\r\n"},
		{"json", "application/x-ndjson", mark + "\n \t\n{\"id\":1}\n  "},
		{"text?key=k", "application/x-ndjson", mark + "{\"id\":1}"},
		{"bytes?key=k", "application/x-ndjson", mark + "{\"id\":1}\n"},
	} {
		got := w.Post(tt.path, tt.body, "Content-Type: "+tt.kind)
		if got.Status != 200 || got.Count != 1 || len(log.Stored()) != i+1 || log.Stored()[i] != `{"id":1}` {
			t.Errorf("%s %q to %s: got %d %s, stored %q", tt.kind, tt.body, tt.path, got.Status, got.Body, log.Stored())
		}
	}
	_, socket := ingestkit.ServeSocket(t, ingest.Options{Log: ingestkit.NewLog(t), Guard: accesstest.Tokens(t, "s3cret")})
	socket.Send(mark + `{"token":"s3cret"}` + "\r\n" + mark + `{"stream":"json","key":"k","data":1}` + "\r\n")
	socket.Expect(`{"offset":1}`)
}

// Where it is not passed over it is named.
func TestByteOrderMark_IsNamed(t *testing.T) {
	const named, of16 = "a byte order mark (BOM);", "the byte order mark (BOM) of UTF-16, where UTF-8 is needed;"
	w := ingestkit.ServeHTTP(t, ingest.Options{Log: ingestkit.NewLog(t)})
	_, client := ingestkit.ServeGRPC(t, ingest.Options{Log: ingestkit.NewLog(t)})
	_, err := client.Append(t.Context(), ingestkit.Request("json", mark+"{}"))
	if want := "event 0: data of 5 bytes is not valid JSON from byte 0 on, a byte order mark (BOM); the stream's format is json"; !strings.HasSuffix(fmt.Sprint(err), want) {
		t.Errorf("got %v, want %s", err, want)
	}
	for body, want := range map[string]string{
		"{}\n" + mark + "{}\n":         named, // two files, one after the other
		mark + mark + "{}":             named,
		"\xff\xfe{\x00}\x00\n\x00":     of16,
		"\xfe\xff\x00{\x00}\x00\n\x00": of16,
	} {
		if got := w.Post("json?key=k", body, ingestkit.Lines); got.Status != 422 || !strings.Contains(got.Error, want) {
			t.Errorf("%q: got %d %s", body, got.Status, got.Body)
		}
	}
}

func TestLines_NameTheLineAlsoAfterAMarkAndBlanks(t *testing.T) {
	w := ingestkit.ServeHTTP(t, ingest.Options{Log: ingestkit.NewLog(t)})
	if got := w.Post("json?key=k", mark+"\n  \n{}\n\t\r\n{\n", ingestkit.Lines); got.Status != 422 || got.Event != 1 || got.Line != 5 {
		t.Errorf("got %d %s", got.Status, got.Body)
	}
}
