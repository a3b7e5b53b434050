package pack_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/standpipe/standpipe/shipper/internal/pack"
	"github.com/standpipe/standpipe/test/draw"
	"github.com/standpipe/standpipe/wal"
)

// opened is an envelope as a consumer reads it.
type opened struct {
	ID         string            `json:"id"`
	Offset     uint64            `json:"offset"`
	Time       time.Time         `json:"time"`
	Key        string            `json:"key"`
	Attributes map[string]string `json:"attributes"`
	Data       json.RawMessage   `json:"data"`
	Base64     *string           `json:"data_base64"`
}

// payload returns the event's data as the consumer gets it.
func (o opened) payload(format string) ([]byte, error) {
	switch {
	case o.Base64 != nil:
		return base64.StdEncoding.DecodeString(*o.Base64)
	case format == pack.EnvelopeJSON:
		return o.Data, nil
	}
	var s string
	err := json.Unmarshal(o.Data, &s)
	return []byte(s), err
}

func checkEnvelope(t *testing.T, format string, e wal.Event) {
	t.Helper()
	v := &pack.Envelope{Log: "01JLOG", Stream: "clicks", Format: format}
	line := v.Append(nil, &e)
	if got := v.Size(&e); got != len(line) {
		t.Errorf("size %d, want %d: %q", got, len(line), line)
	}
	unstored := e
	unstored.Offset = 0
	if v.Size(&unstored) < len(line) {
		t.Errorf("an event without an offset is said to take %d bytes, and takes %d", v.Size(&unstored), len(line))
	}
	if strings.ContainsAny(string(line), "\n\r") {
		t.Errorf("more than a line: %q", line)
	}
	var got opened
	if err := json.Unmarshal(line, &got); err != nil {
		t.Fatalf("%v: %q", err, line)
	}
	if want := fmt.Sprintf("01JLOG/clicks/%d", e.Offset); got.ID != want || got.Offset != e.Offset {
		t.Errorf("got id %q and offset %d, want %q", got.ID, got.Offset, want)
	}
	if got.Key != e.Key || !maps.Equal(got.Attributes, e.Attributes) || got.Time.UnixNano() != e.Time {
		t.Errorf("got %+v, want %+v", got, e)
	}
	data, err := got.payload(format)
	if err != nil || string(data) != string(e.Data) {
		t.Errorf("got data %q (%v), want %q", data, err, e.Data)
	}
}

func TestEnvelope_ParsesBackToTheEvent(t *testing.T) {
	at := time.Date(2026, 11, 21, 10, 0, 0, 120, time.UTC).UnixNano()
	for _, tt := range []struct {
		format, data string
	}{
		{pack.EnvelopeJSON, `{"page":"/","n":1.50,"big":12345678901234567890}`},
		{pack.EnvelopeJSON, `"text"`},
		{pack.EnvelopeText, "a \"quoted\" \\ line\twith \x01 and é and \u2028"},
		{pack.EnvelopeText, "no \xff utf-8"},
		{pack.EnvelopeText, ""},
		{pack.EnvelopeBytes, "any\nthing\x00\xff"},
		{pack.EnvelopeBytes, ""},
	} {
		for _, attributes := range []map[string]string{nil, {"a": "b"}, {"a": `"`, "b\n": "é", "": ""}} {
			checkEnvelope(t, tt.format, wal.Event{Key: `k"\1é`, Data: []byte(tt.data), Time: at, Offset: 17, Attributes: attributes})
		}
	}
}

// A time that was taken before the clock was set is marked.
func TestEnvelope_MarksUncertainTimes(t *testing.T) {
	v := &pack.Envelope{Log: "l", Stream: "s", Format: pack.EnvelopeText}
	e := &wal.Event{Key: "k", Offset: 1, Timeline: 7}
	line := v.Append(nil, e)
	const want = `"time":"1970-01-01T00:00:00.000000000Z","time_uncertain":true,"key":"k",`
	if !json.Valid(line) || !strings.Contains(string(line), want) || len(line) != v.Size(e) {
		t.Errorf("got %q of %d bytes, size said %d; want %s in it", line, len(line), v.Size(e), want)
	}
}

// Events that were stored before the stream's format became JSON may not be JSON.
func TestEnvelope_NeverBreaksItsLine(t *testing.T) {
	v := &pack.Envelope{Log: "l", Stream: "s", Format: pack.EnvelopeJSON}
	for data, want := range map[string]string{"{broken": `"data":"{broken"`, "\xff\n": `"data_base64":"/wo="`} {
		line := v.Append(nil, &wal.Event{Key: "k", Data: []byte(data), Offset: 1})
		if !json.Valid(line) || !strings.Contains(string(line), want) {
			t.Errorf("got %q, want %s in it", line, want)
		}
	}
}

func FuzzEnvelope(f *testing.F) {
	f.Add("k", "data", "name", "value", uint64(1), int64(1))
	f.Add(`"\`, "\xff\x00", "\n", "", uint64(1<<63), int64(-1))
	f.Fuzz(func(t *testing.T, key, data, name, value string, offset uint64, at int64) {
		if !utf8.ValidString(key) || !utf8.ValidString(name) || !utf8.ValidString(value) || offset == 0 {
			return // ingest rejects such keys and attributes
		}
		e := wal.Event{Key: key, Data: []byte(data), Time: at, Offset: offset, Attributes: map[string]string{name: value}}
		checkEnvelope(t, pack.EnvelopeText, e)
		checkEnvelope(t, pack.EnvelopeBytes, e)
		if json.Valid(e.Data) && !strings.ContainsAny(data, "\r\n") {
			checkEnvelopeJSON(t, e)
		}
	})
}

// checkEnvelopeJSON ignores the blanks around the data that JSON allows.
func checkEnvelopeJSON(t *testing.T, e wal.Event) {
	if trimmed := strings.TrimSpace(string(e.Data)); trimmed == string(e.Data) {
		checkEnvelope(t, pack.EnvelopeJSON, e)
	}
}

// An event may have been stored while the stream had another format.
func TestEnvelope_IsOneLineOfTheSizeThatItSays(t *testing.T) {
	for _, data := range []string{
		"{\n  \"a\": 1\n}", "[1,\r\n2]", "\n7\r", `"a\\nb"`, strings.Repeat(`"`, 100), "{not json}", "{\"a\":\n", "a\nb", "\xff\n", "",
	} {
		for _, format := range []string{pack.EnvelopeJSON, pack.EnvelopeText, pack.EnvelopeBytes} {
			v := &pack.Envelope{Log: "L", Stream: "s", Format: format}
			e := &wal.Event{Key: "k", Offset: 9, Data: []byte(data)}
			for range 2 {
				size := v.Size(e)
				line := v.Append(nil, e)
				if len(line) != size || strings.ContainsAny(string(line), "\r\n") || !json.Valid(line) {
					t.Errorf("%s, %q: got %q of %d bytes, size said %d", format, data, line, len(line), size)
				}
			}
		}
	}
}

// Every byte is escaped, or not, wherever it stands in a text: between others of its kind, beside such as need no escape, and at the end.
func TestEnvelope_EscapesEachByteAnywhere(t *testing.T) {
	seed := draw.Seed(t)
	r := rand.New(rand.NewPCG(seed, 1))
	specials := []string{"\"", "\\", "\n", "\r", "\t", "\x00", "\x1f", " ", "!", "~", "\x7f", "é", "€", "😀", "\u2028", "\uFFFD"}
	for range 3000 {
		var b strings.Builder
		for n, dense := r.IntN(70), 1+r.IntN(20); n > 0; n-- {
			if r.IntN(dense) == 0 {
				b.WriteString(specials[r.IntN(len(specials))])
			} else {
				b.WriteByte(byte(r.IntN(utf8.RuneSelf)))
			}
		}
		checkEnvelope(t, pack.EnvelopeText, wal.Event{Key: b.String(), Data: []byte(b.String()), Offset: 1, Attributes: map[string]string{b.String(): "v"}})
	}
}

func BenchmarkEnvelope_Text(b *testing.B) {
	for name, unit := range map[string]string{"plain": strings.Repeat("plain text ", 10), "json": `{"sensor":"meter-12","temperature":21.53,"ok":true}`} {
		data := []byte(strings.Repeat(unit, 20<<10/len(unit)))
		v := &pack.Envelope{Log: "l", Stream: "s", Format: pack.EnvelopeText}
		e := &wal.Event{Key: "k", Data: data, Offset: 1}
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			line := make([]byte, 0, 2*len(data))
			for b.Loop() {
				if v.Size(e) != len(v.Append(line, e)) {
					b.Fatal("size and line differ")
				}
			}
		})
	}
}
