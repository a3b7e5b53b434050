package httpin_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"testing"
	"unicode/utf8"

	"github.com/standpipe/standpipe/agent/ingest"
	"github.com/standpipe/standpipe/test/ingestkit"
	"github.com/standpipe/standpipe/wal"
)

// kept is a log that keeps the last batch.
type kept struct {
	ingestkit.Discard
	events []wal.Event
}

func (k *kept) Submit(ctx context.Context, b *wal.Batch) (ingest.Ticket, error) {
	k.events = nil
	for _, e := range b.Events {
		e.Data = bytes.Clone(e.Data)
		k.events = append(k.events, e)
	}
	return k.Discard.Submit(ctx, b)
}

// FuzzPost: any bytes get a response. Stored events follow the rules of the stream and are in the body; others are
// rejected with a reason.
func FuzzPost(f *testing.F) {
	f.Add("key=k", "", false, []byte(`{"a":1}`))
	f.Add("key=k&ack=accepted&time=2026-11-02T06:00:00Z", "X", true, []byte("{}\n\r\n[1]\n"))
	f.Add("", "", true, []byte(`{"user":{"id":"\u00e4"}}`+"\n"+`{"user":{"id":7,"id":-1e5}}`))
	f.Add("key=%zz", "\xff", false, []byte("\x00"))
	log := &kept{}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.Fatal(err)
	}
	s, err := ingest.New(ingest.Options{
		Type: ingest.HTTP, Listener: l, Log: log, Streams: ingestkit.TestStreams, HTTP: ingest.HTTPOptions{KeyField: "user.id"},
	})
	if err != nil {
		f.Fatal(err)
	}
	go s.Serve(context.Background())
	client := &http.Client{Transport: &http.Transport{}}
	f.Cleanup(func() {
		client.CloseIdleConnections()
		s.Stop(context.Background())
	})
	f.Fuzz(func(t *testing.T, query, key string, lines bool, body []byte) {
		r, err := http.NewRequest("POST", "http://"+l.Addr().String()+"/v1/streams/json", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.URL.RawQuery = query
		r.Header.Set("X-Partition-Key", key)
		if lines {
			r.Header.Set("Content-Type", "application/x-ndjson")
		}
		log.events = nil
		got, err := client.Do(r)
		if err != nil {
			return // the client itself would not send it
		}
		defer got.Body.Close()
		text, _ := io.ReadAll(got.Body)
		var answer struct {
			Count int
			Error string
		}
		isJSON := got.Header.Get("Content-Type") == "application/json"
		if err := json.Unmarshal(text, &answer); isJSON && err != nil {
			t.Fatalf("%v in %q", err, text)
		}
		if got.StatusCode/100 != 2 {
			if len(log.events) > 0 || isJSON && answer.Error == "" {
				t.Fatalf("%d %s, and %d events were stored", got.StatusCode, text, len(log.events))
			}
			return
		}
		if answer.Count != len(log.events) || !lines && answer.Count != 1 {
			t.Errorf("%s, but %d events were stored", text, len(log.events))
		}
		for _, e := range log.events {
			n := utf8.RuneCountInString(e.Key)
			if !json.Valid(e.Data) || bytes.ContainsAny(e.Data, "\r\n") || !bytes.Contains(body, e.Data) || n < 1 || n > 256 || !utf8.ValidString(e.Key) {
				t.Errorf("stored %q under %q of %q", e.Data, e.Key, body)
			}
		}
	})
}
