package socketin

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"testing"
	"unicode/utf8"

	"github.com/standpipe/standpipe/agent/ingest/internal/intake"
	"github.com/standpipe/standpipe/wal/timeline"
)

// loose is a line as encoding/json reads it.
type loose struct {
	Stream, Key *string
	Data        json.RawMessage
	Base64      *string `json:"data_base64"`
	Attributes  map[string]string
}

// FuzzLine: a line is either rejected with a text, or means the same as to encoding/json.
func FuzzLine(f *testing.F) {
	for _, line := range []string{
		`{"stream":"s","key":"k","data":{"b": [1, 2.50, "x"],  "a":null},"time":"2026-11-02T06:00:00Z"}`,
		`{"stream":"s","key":"k","data":"a\u00e9\ud83d\ude00\n","attributes":{"a":"b","c":""},"ack":"accepted"}`,
		`{"stream":"s","key":"k","data_base64":"AAH/","producer_id":"p","producer_sequence":7}`,
		` { "data" : [ ] } `, `{"data":"\ud800"}`, `{"data":1,"data":2}`, `{"data":1,"x":2}`, `[]`, `{`, ``, "\xff",
	} {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		var p lineReading
		r := new(intake.Request)
		given := bytes.Clone(line)
		refused := p.read(line, r, timeline.Stamp{})
		if !bytes.Equal(line, given) {
			t.Fatal("the line was written to")
		}
		if refused != nil {
			if refused.Text == "" || !utf8.ValidString(refused.Text) || refused.Reason == "" {
				t.Fatalf("refused with %+v", refused)
			}
			return
		}
		compareLine(t, line, r)
	})
}

func compareLine(t *testing.T, line []byte, r *intake.Request) {
	t.Helper()
	var want loose
	if err := json.Unmarshal(line, &want); err != nil {
		t.Fatalf("taken, but %v", err)
	}
	e := r.Batch.Events[0]
	if got := string(e.Data); got != wantedData(t, &want) {
		t.Errorf("got data %q, want %q", got, wantedData(t, &want))
	}
	if got := r.Batch.Stream; got != str(want.Stream) {
		t.Errorf("got stream %q, want %q", got, str(want.Stream))
	}
	if got := e.Key; got != str(want.Key) {
		t.Errorf("got key %q, want %q", got, str(want.Key))
	}
	if len(e.Attributes) != len(want.Attributes) {
		t.Errorf("got attributes %q, want %q", e.Attributes, want.Attributes)
	}
	for name, value := range e.Attributes {
		if want.Attributes[name] != value {
			t.Errorf("got attribute %q %q, want %q", name, value, want.Attributes[name])
		}
	}
}

func str(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func wantedData(t *testing.T, l *loose) string {
	t.Helper()
	if l.Base64 != nil {
		b, err := base64.StdEncoding.DecodeString(*l.Base64)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	var text string
	if l.Data[0] == '"' {
		if err := json.Unmarshal(l.Data, &text); err != nil {
			t.Fatal(err)
		}
		return text
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, l.Data); err != nil {
		t.Fatal(err)
	}
	return compact.String()
}
