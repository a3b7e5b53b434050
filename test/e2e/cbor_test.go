//go:build unix

package e2e_test

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"testing"
	"time"
)

// Requests to Kinesis are in CBOR where the endpoint takes it, and in JSON after the first ones where it does not.
// Either way each event arrives once. Kinesalite takes CBOR; moto crashes on it.
func TestKinesis_FormatIsTheEndpoints(t *testing.T) {
	endToEnd(t)
	t.Run("kinesalite", func(t *testing.T) {
		t.Parallel()
		c := sentInFormats(t, startKinesalite(t))
		if c.cbor == 0 || c.json > 0 {
			t.Errorf("got %d requests in CBOR and %d in JSON, want CBOR only", c.cbor, c.json)
		}
	})
	t.Run("moto", func(t *testing.T) {
		t.Parallel()
		c := sentInFormats(t, &kinesalite{t: t, address: startMoto(t).address})
		if c.cbor != c.before || c.json == 0 {
			t.Errorf("got %d requests in CBOR and %d in JSON, want those of the first stream, %d, in CBOR", c.cbor, c.json, c.before)
		}
	})
}

// formats counts PutRecords requests by their format.
type formats struct {
	mu         sync.Mutex
	cbor, json int
	before     int // in CBOR, before the second stream had events: requests beside the first may be in CBOR too
}

// sentInFormats sends events to a stream of the service, two streams one after the other, and requires each to arrive once.
func sentInFormats(t *testing.T, k *kinesalite) *formats {
	t.Helper()
	c := new(formats)
	upstream, _ := url.Parse(k.endpoint())
	proxy := httputil.NewSingleHostReverseProxy(upstream)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Amz-Target") == "Kinesis_20131202.PutRecords" {
			c.mu.Lock()
			if r.Header.Get("Content-Type") == "application/x-amz-cbor-1.1" {
				c.cbor++
			} else {
				c.json++
			}
			c.mu.Unlock()
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	streams := []string{"first", "second"}
	text := ""
	for _, stream := range streams {
		k.create(stream, 2)
		text += streamBlock(stream, kinesisDestination(front.URL))
	}
	a := startAgent(t, "", text)
	client := a.dial()
	for i, stream := range streams {
		sent := readings(uint64(70+i), 300)
		for _, part := range batches(sent, 100) {
			send(t, client, stream, part)
		}
		a.waitDelivered(stream, len(sent), time.Minute)
		got, _ := k.read(stream)
		if v := owing(sent).judge(got); v != (verdict{events: len(sent)}) {
			t.Errorf("%s: got %+v, want %d events once and in order", stream, v, len(sent))
		}
		if i == 0 {
			c.mu.Lock()
			c.before = c.cbor
			c.mu.Unlock()
		}
	}
	a.stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	return c
}
