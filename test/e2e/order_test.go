//go:build unix

package e2e_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

func kinesisOrdered(order, aggregate, endpoint string) string {
	return strings.Replace(kinesisAs("live", aggregate, endpoint), "aggregate", fmt.Sprintf("order = %q\n    aggregate", order), 1)
}

// puts notes the PutRecord and PutRecords requests that pass it on their way to a service.
type puts struct {
	*httptest.Server

	mu          sync.Mutex
	batches     int            // PutRecords; guarded by mu
	singles     map[string]int // PutRecord, by key; guarded by mu
	unfollowing int            // PutRecord without a number, after the key's first; guarded by mu
}

func startPuts(t *testing.T, target string) *puts {
	t.Helper()
	p := &puts{singles: make(map[string]int)}
	upstream, _ := url.Parse(target)
	proxy := httputil.NewSingleHostReverseProxy(upstream)
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := p.note(r); err != nil {
			t.Error(err)
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(p.Close)
	return p
}

func (p *puts) note(r *http.Request) error {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil // the agent is gone
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	p.mu.Lock()
	defer p.mu.Unlock()
	switch r.Header.Get("X-Amz-Target") {
	case "Kinesis_20131202.PutRecords":
		p.batches++
	case "Kinesis_20131202.PutRecord":
		var call struct{ PartitionKey, SequenceNumberForOrdering string }
		if err := json.Unmarshal(body, &call); err != nil {
			return fmt.Errorf("PutRecord of %d bytes: %w", len(body), err)
		}
		if p.singles[call.PartitionKey] > 0 && call.SequenceNumberForOrdering == "" {
			p.unfollowing++
		}
		p.singles[call.PartitionKey]++
	}
	return nil
}

// In strict order every record names its key's one before.
func TestOrder_Strict(t *testing.T) {
	endToEnd(t)
	for _, aggregate := range []string{"kpl", "none"} {
		t.Run(aggregate, func(t *testing.T) {
			t.Parallel()
			k := startKinesalite(t)
			k.create("strict", 2)
			p := startPuts(t, k.endpoint())
			a := startAgent(t, "", streamBlock("strict", kinesisOrdered("strict", aggregate, p.URL)))
			sent := readings(31, 1500)
			begin := time.Now()
			client := a.dial()
			for _, part := range batches(sent, 500) {
				send(t, client, "strict", part)
			}
			s := a.waitDelivered("strict", len(sent), time.Minute)
			t.Logf("%d events in %d records after %.2f s", len(sent), s.destination("live").Records, time.Since(begin).Seconds())
			a.stop()
			live, _ := k.read("strict")
			owing(sent).expectWhole(t, "strict", live, 0)
			if p.batches != 0 || p.unfollowing != 0 || len(p.singles) == 0 {
				t.Errorf("got %d PutRecords, PutRecord for %d keys, %d without the number of the one before", p.batches, len(p.singles), p.unfollowing)
			}
		})
	}
}

// A shard splits under way. The stand-in refuses numbers of a shard that is younger than a second, so some
// records go out without one; none is taken for poison, and order is whole.
func TestOrder_StrictWhenShardsSplit(t *testing.T) {
	endToEnd(t)
	t.Parallel()
	k := startKinesalite(t)
	k.create("split", 2)
	a := startAgent(t, "", streamBlock("split", kinesisOrdered("strict", "kpl", k.endpoint())))
	sent := readings(35, 1500)
	client := a.dial()
	for _, part := range batches(sent, 500) {
		send(t, client, "split", part)
		k.split("split")
	}
	a.waitDelivered("split", len(sent), time.Minute)
	a.stop()
	live, _ := k.read("split")
	owing(sent).expectWhole(t, "split", live, 0)
}

// Lost requests, lost replies and kills leave strict order whole.
func TestOrder_StrictOverALinkThatLosesResponses(t *testing.T) {
	endToEnd(t)
	t.Parallel()
	const seed = 33
	k := startKinesalite(t)
	k.create("lossy", 3)
	l := startLink(t, k.address, 90_000, 9_000, seed)
	l.bad.Store(true)
	a := startAgent(t, "", streamBlock("lossy", kinesisOrdered("strict", "kpl", l.endpoint())))
	sent := readings(seed, 4000)
	sendThroughKills(t, a, "lossy", sent)
	waitCuts(t, a, l, 10)
	l.bad.Store(false)
	a.waitDelivered("lossy", len(sent), time.Minute)
	a.stop()
	live, _ := k.read("lossy")
	t.Logf("%v, %d cuts", owing(sent).expectWhole(t, "lossy", live, 10*len(sent)), l.cuts.Load())
}

// Where order does not matter, one key fills whole requests, and all of it arrives once.
func TestOrder_None(t *testing.T) {
	endToEnd(t)
	t.Parallel()
	k := startKinesalite(t)
	k.create("any", 2)
	a := startAgent(t, "", streamBlock("any", kinesisOrdered("none", "none", k.endpoint())))
	var sent []event
	for i := range 2000 {
		sent = append(sent, event{"one", fmt.Sprintf(`{"n":%d}`, i)})
	}
	send(t, a.dial(), "any", sent)
	s := a.waitDelivered("any", len(sent), time.Minute)
	a.stop()
	live, _ := k.read("any")
	if v := owing(sent).judge(live); v.events != len(sent) || v.missing+v.foreign+v.duplicates > 0 {
		t.Errorf("got %v, want all of %d once", v, len(sent))
	}
	if got := s.destination("live").Requests; got > 20 {
		t.Errorf("got %d requests for %d events of one key, want whole batches", got, len(sent))
	}
}
