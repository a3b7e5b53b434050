//go:build unix

package e2e_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/standpipe/standpipe/test/draw"
	"github.com/standpipe/standpipe/test/testkit"
)

// A fault is the fate of one put on its way to a service.
type fault string

const (
	none       fault = ""
	refused    fault = "the connection is reset before the request is read"
	torn       fault = "the connection is reset in the middle of the request"
	stalled    fault = "the request never arrives"
	late       fault = "the reply comes late, but in time"
	reset200   fault = "the request is stored, the connection is reset before the reply"
	cut        fault = "the request is stored, the reply ends in the middle"
	unanswered fault = "the request is stored, the reply never comes"
	portal     fault = "the request is stored, the reply is no JSON"
)

var faults = []fault{refused, torn, stalled, late, reset200, cut, unanswered, portal}

// timeout is that of a request over a faulty path.
const timeout = 2 * time.Second

// faulty is the path to a service. It knows the events whose reply the agent did not get: they are stored, and
// the agent can't know it.
type faulty struct {
	*httptest.Server
	target string

	mu     sync.Mutex
	next   func() fault // the fault of the next put; guarded by mu
	met    int          // puts that met a fault; guarded by mu
	doubts int          // events that were stored without the agent hearing of it; guarded by mu
}

func startFaulty(t *testing.T, target string) *faulty {
	t.Helper()
	f := &faulty{target: target}
	f.set(none)
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	return f
}

// set makes all puts meet one fault.
func (f *faulty) set(to fault) { f.choose(func() fault { return to }) }

func (f *faulty) choose(next func() fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.next, f.met = next, 0
}

func (f *faulty) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	what := f.meet(r)
	switch what {
	case refused:
		hangUp(w, "")
		return
	case torn:
		io.CopyN(io.Discard, r.Body, r.ContentLength/2)
		hangUp(w, "")
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	if what == stalled {
		<-r.Context().Done()
		return
	}
	status, reply, err := f.forward(r, body)
	if err != nil {
		hangUp(w, "")
		return
	}
	if what == late {
		select {
		case <-time.After(timeout / 4):
		case <-r.Context().Done():
		}
	}
	if !respond(w, r, what, status, reply) && status == http.StatusOK {
		f.doubt(body)
	}
}

// meet chooses the fault of a request; only puts meet any.
func (f *faulty) meet(r *http.Request) fault {
	if !strings.Contains(r.Header.Get("X-Amz-Target"), ".PutRecord") {
		return none
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	what := f.next()
	if what != none {
		f.met++
	}
	return what
}

func (f *faulty) forward(r *http.Request, body []byte) (status int, reply []byte, err error) {
	out, err := http.NewRequest(r.Method, f.target, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	out.Header = r.Header.Clone()
	answer, err := http.DefaultClient.Do(out) // also when the agent has given up: the request is on its way
	if err != nil {
		return 0, nil, err
	}
	defer answer.Body.Close()
	reply, err = io.ReadAll(answer.Body)
	return answer.StatusCode, reply, err
}

// respond passes a response on, as far as the fault allows, and reports whether it arrived.
func respond(w http.ResponseWriter, r *http.Request, what fault, status int, reply []byte) bool {
	switch what {
	case reset200:
		hangUp(w, "")
	case cut:
		hangUp(w, fmt.Sprintf("HTTP/1.1 %d \r\nContent-Length: %d\r\n\r\n%s", status, len(reply), reply[:len(reply)/2]))
	case unanswered:
		<-r.Context().Done()
	case portal:
		io.WriteString(w, "<html>Welcome to Hotel WiFi</html>")
	default:
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		w.WriteHeader(status)
		_, err := w.Write(reply)
		return err == nil && r.Context().Err() == nil
	}
	return false
}

// hangUp sends text as it is and ends the connection.
func hangUp(w http.ResponseWriter, text string) {
	c, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	if text == "" {
		reset(c)
		return
	}
	io.WriteString(c, text)
	c.Close()
}

// doubt counts the events of a put.
func (f *faulty) doubt(body []byte) {
	var put struct{ Records []struct{ Data []byte } }
	if json.Unmarshal(body, &put) != nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range put.Records {
		f.doubts += bytes.Count(r.Data, []byte(`{"sensor":`))
	}
}

// waitMet waits until so many puts have met a fault.
func (f *faulty) waitMet(t *testing.T, puts int) {
	t.Helper()
	testkit.Eventually(t, time.Minute, func() error {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.met < puts {
			return fmt.Errorf("%d of %d puts met the fault", f.met, puts)
		}
		return nil
	})
}

// Every fault of a path, one after another and then at random, to both services: all events arrive, in their
// keys' order, and those arrive twice, and no others, whose reply was lost.
func TestPath_FaultyRepeatsOnlyEventsInDoubt(t *testing.T) {
	endToEnd(t)
	quickly := func(block string) string {
		return strings.Replace(block, `"20s"`, fmt.Sprintf("%q", timeout), 1)
	}
	t.Run("kinesis", func(t *testing.T) {
		t.Parallel()
		k := startKinesalite(t)
		k.create("clicks", 3)
		f := startFaulty(t, k.endpoint())
		meetFaults(t, f, quickly(kinesisDestination(f.URL)), func() []event {
			events, _ := k.read("clicks")
			return events
		})
	})
	t.Run("firehose", func(t *testing.T) {
		t.Parallel()
		m := startMoto(t)
		m.create("clicks")
		f := startFaulty(t, m.endpoint())
		meetFaults(t, f, quickly(firehoseDestination(f.URL)), func() []event { return m.read("sensor") })
	})
}

// meetFaults sends events over f and judges the contents of the service afterwards.
func meetFaults(t *testing.T, f *faulty, destination string, read func() []event) {
	seed := draw.Seed(t)
	a := startAgent(t, "", streamBlock("clicks", destination))
	client := a.dial()
	parts := batches(readings(seed, 3000), 3000/(len(faults)+7))
	var sent []event
	for i, what := range faults {
		f.set(what)
		send(t, client, "clicks", parts[i])
		sent = append(sent, parts[i]...)
		if what != late {
			f.waitMet(t, 3)
			f.set(none)
		}
		a.waitDelivered("clicks", len(sent), time.Minute)
	}
	r := rand.New(rand.NewPCG(seed, 18))
	f.choose(func() fault { return append(faults, none, none, none, none)[r.IntN(len(faults)+4)] })
	for _, part := range parts[len(faults):] {
		send(t, client, "clicks", part)
		sent = append(sent, part...)
		a.waitDelivered("clicks", len(sent), time.Minute)
	}
	a.stop()
	got := read()
	f.mu.Lock()
	defer f.mu.Unlock()
	v := owing(sent).expectWhole(t, "clicks", got, f.doubts)
	if v.duplicates < f.doubts || f.doubts == 0 {
		t.Errorf("got %d events twice, want the %d whose reply was lost", v.duplicates, f.doubts)
	}
	t.Logf("%v, %d in doubt, seed %d", v, f.doubts, seed)
}
