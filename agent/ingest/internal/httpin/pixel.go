package httpin

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"

	"github.com/standpipe/standpipe/agent/ingest/internal/intake"
	"github.com/standpipe/standpipe/wal"
)

// Pixel is a path whose GET requests are events, for producers that can only load an image: a page, a mail, a device.
// The response is 204. The event is a line of JSON:
//
//	{"path":"/p.gif","query":{"uid":"u1","tag":["a","b"]},"headers":{"User-Agent":"..."}}
//
// A parameter is a string, or a list of them when the query has it several times.
type Pixel struct {
	Path    string // such as /p.gif
	Stream  string
	Key     string   // the parameter that is the partition key
	Headers []string // which of the request's headers are recorded
}

// pixelEvent is the data of an event.
type pixelEvent struct {
	Path    string            `json:"path"`
	Query   map[string]any    `json:"query"`
	Headers map[string]string `json:"headers,omitempty"`
}

// record stores a request as an event.
func (w *Listener) record(out http.ResponseWriter, r *http.Request, pixel *Pixel) *intake.Rejection {
	defer arrived(w.in, r).EndRequest()
	q := intake.NewRequest()
	defer q.Free()
	q.Batch.Stream = pixel.Stream
	t := intake.Submission{Stream: pixel.Stream, Events: 1}
	event, refused := pixel.event(r)
	if refused != nil {
		t.Rejected = refused
	} else {
		w.in.Clock().On(&event)
		q.Batch.Events, q.JSON, q.Awaited = append(q.Batch.Events, event), true, true
		t = w.in.Submit(r.Context(), q)
	}
	if _, refused = w.in.Await(r.Context(), &t); refused != nil {
		return refused
	}
	out.Header()["Cache-Control"] = noStore
	out.WriteHeader(http.StatusNoContent)
	return nil
}

var noStore = []string{"no-store"}

func (p *Pixel) event(r *http.Request) (wal.Event, *intake.Rejection) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return wal.Event{}, intake.Invalid("the query of %d bytes is not encoded as a URL's has to be", len(r.URL.RawQuery))
	}
	key := values.Get(p.Key)
	if key == "" {
		return wal.Event{}, intake.Invalid("the query has no %s, which is the partition key", intake.QuoteName(p.Key))
	}
	said := pixelEvent{Path: p.Path, Query: make(map[string]any, len(values))}
	for name, v := range values {
		said.Query[name] = v
		if len(v) == 1 {
			said.Query[name] = v[0]
		}
	}
	for _, name := range p.Headers {
		if v := r.Header.Get(name); v != "" {
			if said.Headers == nil {
				said.Headers = make(map[string]string)
			}
			said.Headers[name] = v
		}
	}
	return wal.Event{Key: key, Data: said.encode()}, nil
}

func (e *pixelEvent) encode() []byte {
	var line bytes.Buffer
	to := json.NewEncoder(&line)
	to.SetEscapeHTML(false)
	if err := to.Encode(e); err != nil {
		panic(err) // strings
	}
	return bytes.TrimSuffix(line.Bytes(), newline)
}
