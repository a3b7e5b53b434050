package livetail

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/standpipe/standpipe/wal"
)

const (
	// maxViews bounds the views of a server, and with chunkSize their memory.
	maxViews = 8
	// maxLast bounds the parameter last of a request.
	maxLast = 500
	// maxKeys bounds the keys of a request.
	maxKeys = 100
)

// Log is the interface to the log; a *wal.Log is one.
type Log interface {
	Read(stream string, from uint64, lanes wal.LaneSet, limit int) (wal.Chunk, error)
	Next(stream string) uint64
	Grown(stream string) <-chan struct{}
}

// Server serves views. It may be used concurrently.
type Server struct {
	log      Log
	lookup   func(stream string) error
	views    chan struct{} // holds one for each view
	stopping chan struct{}
	stop     func()
}

// New returns a server of the log's streams. The function lookup returns an error for a stream that may not begin.
func New(log Log, lookup func(stream string) error) *Server {
	s := &Server{log: log, lookup: lookup, views: make(chan struct{}, maxViews), stopping: make(chan struct{})}
	s.stop = sync.OnceFunc(func() { close(s.stopping) })
	return s
}

// Stop ends all views, and does not wait for them.
func (s *Server) Stop() { s.stop() }

// Serve sends the events of a stream until the client is gone, mayRead returns an error, or Stop. It responds with 400 to an invalid
// query, 404 if there is no such stream, and 503 if maxViews views are open. The query of the request:
//
//	last=N     begins with up to N events before the end, at most 500; default: 0
//	after=N    begins behind offset N, as the header Last-Event-ID does, which wins
//	key=KEY    only events of the key; may be there up to 100 times
//
// An offset beyond the end begins at the end.
func (s *Server) Serve(w http.ResponseWriter, r *http.Request, stream string, mayRead func() error) {
	asked, err := readQuery(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if s.log.Next(stream) == 1 {
		if err := s.lookup(stream); err != nil {
			http.Error(w, err.Error(), http.StatusNotFound)
			return
		}
	}
	select {
	case s.views <- struct{}{}:
		defer func() { <-s.views }()
	default:
		w.Header().Set("Retry-After", "5")
		http.Error(w, fmt.Sprintf("%d live views are open, and no more are allowed", maxViews), http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // a proxy would hold small responses back
	v := &view{log: s.log, stream: stream, asked: asked, w: w, wire: http.NewResponseController(w)}
	v.next, v.strict = asked.begin(s.log.Next(stream))
	if r.Method == http.MethodHead || v.wire.SetReadDeadline(time.Time{}) != nil { // that of the server is for requests that end
		return
	}
	v.run(r.Context().Done(), s.stopping, mayRead)
}

// query is the part of a stream that a request is for.
type query struct {
	keys  []string // nil: all
	last  uint64   // events before the end
	after *uint64  // nil: not given
}

func readQuery(r *http.Request) (q query, err error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return q, errors.New("the query is malformed")
	}
	if q.keys = values["key"]; len(q.keys) > maxKeys {
		return q, fmt.Errorf("key: %d are given; at most %d are allowed", len(q.keys), maxKeys)
	}
	if text := values.Get("last"); text != "" {
		if q.last, err = strconv.ParseUint(text, 10, 64); err != nil || q.last > maxLast {
			return q, fmt.Errorf("last: want 0 to %d", maxLast)
		}
	}
	name, text := "Last-Event-ID", r.Header.Get("Last-Event-ID")
	if text == "" {
		name, text = "after", values.Get("after")
	}
	if text != "" {
		after, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return q, fmt.Errorf("%s: want an offset, a number", name)
		}
		q.after = &after
	}
	return q, nil
}

// begin returns the first offset, and whether events that the log has no more are reported there: of the last ones the view has those
// that are left.
func (q *query) begin(end uint64) (next uint64, strict bool) {
	if q.after != nil {
		return min(*q.after, end-1) + 1, true
	}
	return end - min(q.last, end-1), q.last == 0
}
