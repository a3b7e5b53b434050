package admin

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/standpipe/standpipe/agent/internal/access"
)

// Limits for slow clients. They are generous, since responses are small.
const (
	headerTimeout   = 5 * time.Second
	readTimeout     = 10 * time.Second
	writeTimeout    = 30 * time.Second
	idleTimeout     = 60 * time.Second
	maxHeaderBytes  = 16 << 10
	shutdownTimeout = 2 * time.Second
)

// Options of a Server.
type Options struct {
	Source  Source           // required
	Dead    Dead             // nil: the server has no dead-letter endpoints
	History func() History   // the traffic of the last minutes, for the page; nil: none
	Actions Destinations     // nil: the server has no actions on destinations
	Link    Link             // nil: the server cannot set the link
	Replays Replays          // nil: the server has no replays
	Tail    Tail             // nil: the server has no live views
	Reload  func() error     // applies the configuration file; nil: the server cannot reload
	Metrics *Metrics         // nil: a new one
	Logger  hclog.Logger     // nil: none
	Clock   func() time.Time // nil: time.Now
	Kinds   []string         // all kinds of problems; each is a series of the metric standpipe_problems

	PerStream func() PerStream // the metrics with a series for each stream, called for each scrape; nil: PerStreamAuto

	TLS   *tls.Config   // nil: none
	Guard *access.Guard // admits callers to all endpoints but health; nil: all callers that use one of our names
	Names []string      // of the agent in a Host header, besides addresses and localhost
}

// Server serves operators over HTTP. It may serve several listeners at once.
type Server struct {
	source  Source
	dead    Dead
	history func() History
	metrics *Metrics
	logger  hclog.Logger
	clock   func() time.Time
	tls     *tls.Config
	guard   *access.Guard
	names   map[string]bool // in lower case
	mux     *http.ServeMux
	kinds   []string
	build   [3]string // of the metric standpipe_build_info

	perStream func() PerStream
	tail      Tail
}

// New returns a Server. Serve starts it.
func New(o Options) *Server {
	s := &Server{source: o.Source, dead: o.Dead, metrics: o.Metrics, logger: o.Logger, clock: o.Clock, history: o.History, tail: o.Tail, tls: o.TLS, guard: o.Guard, kinds: o.Kinds, build: build()}
	if s.metrics == nil {
		s.metrics = NewMetrics()
	}
	if s.logger == nil {
		s.logger = hclog.NewNullLogger()
	}
	if s.clock == nil {
		s.clock = time.Now
	}
	if s.perStream = o.PerStream; s.perStream == nil {
		s.perStream = func() PerStream { return PerStreamAuto }
	}
	if s.history == nil {
		s.history = func() History { return History{} }
	}
	s.names = map[string]bool{cliHost: true}
	for _, name := range o.Names {
		s.names[strings.ToLower(name)] = true
	}
	s.mux = http.NewServeMux()
	s.mux.HandleFunc("GET /{$}", s.page)
	s.mux.HandleFunc("GET /page.css", asset("text/css; charset=utf-8", pageStyle))
	s.mux.HandleFunc("GET /page.js", asset("text/javascript; charset=utf-8", pageScript))
	s.mux.HandleFunc("GET /livez", s.serveHealth(s.source.Live))
	s.mux.HandleFunc("GET /readyz", s.serveHealth(s.source.Ready))
	s.mux.HandleFunc("GET /metrics", s.scrape)
	s.mux.HandleFunc("GET /v1/status", s.status)
	if s.dead != nil {
		s.offerDead()
	}
	if o.Actions != nil {
		s.offerDestinations(o.Actions)
	}
	if o.Link != nil {
		s.offerLink(o.Link)
	}
	if o.Replays != nil {
		s.offerReplays(o.Replays)
	}
	if o.Tail != nil {
		s.mux.HandleFunc("GET /v1/streams/{stream}/tail", notFromPages(s.serveTail))
	}
	if o.Reload != nil {
		s.mux.HandleFunc("POST /v1/reload", notFromPages(s.reload(o.Reload)))
	}
	return s
}

// Serve serves l until ctx ends, and closes l. Live views, also those of other listeners, end then, and other open requests have two
// seconds to finish. Serve returns nil after ctx has
// ended. On a unix socket, which no page of a browser can reach, any Host is accepted.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	handler := http.Handler(s)
	if l.Addr().Network() != "unix" {
		handler = s.ownHost(s)
	}
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          s.errorLog(),
	}
	if s.guard != nil {
		server.ConnContext = withOrigin
	}
	if s.tls != nil {
		conf := s.tls.Clone()
		conf.NextProtos = []string{"http/1.1"}
		l = tls.NewListener(l, conf)
	}
	if s.tail != nil {
		server.RegisterOnShutdown(s.tail.Stop)
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serve admin on %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	if err := server.Shutdown(grace); err != nil {
		server.Close()
	}
	<-ended
	return nil
}

func (s *Server) errorLog() *log.Logger {
	return s.logger.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug})
}

// ServeHTTP handles one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	if err := s.admit(r); err != nil {
		unauthorized(w, err)
		return
	}
	s.mux.ServeHTTP(w, r)
}

// offers reports whether the server has an endpoint for a path.
func (s *Server) offers(method, path string) bool {
	_, pattern := s.mux.Handler(&http.Request{Method: method, URL: &url.URL{Path: path}})
	return pattern != ""
}

func (s *Server) snapshot() Status {
	return s.source.Status().complete(s.metrics.RefusedEvents)
}

// serveHealth responds with the result of check. Only authorized callers get the reason of a failure.
func (s *Server) serveHealth(check func() error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		text, code := "ok", http.StatusOK
		if err := check(); err != nil {
			text, code = err.Error(), http.StatusServiceUnavailable
			if !s.knows(r) {
				text = "not ok"
			}
		}
		write(w, code, "text/plain; charset=utf-8", []byte(text+"\n"))
	}
}

func (s *Server) status(w http.ResponseWriter, r *http.Request) {
	s.writeJSON(w, s.snapshot())
}

// reload handles a POST that applies the configuration file. It responds with the changes, or with the faults.
func (s *Server) reload(apply func() error) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if err := apply(); err != nil {
			http.Error(w, err.Error(), http.StatusUnprocessableEntity)
			return
		}
		s.writeJSON(w, s.snapshot().Reload)
	}
}

func (s *Server) writeJSON(w http.ResponseWriter, v any) {
	body, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		s.fail(w, fmt.Errorf("encode response: %w", err))
		return
	}
	write(w, http.StatusOK, "application/json", append(body, '\n'))
}

func (s *Server) fail(w http.ResponseWriter, err error) {
	s.logger.Error("admin response failed", "error", err)
	http.Error(w, err.Error(), http.StatusInternalServerError)
}

func write(w http.ResponseWriter, code int, kind string, body []byte) {
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(code)
	w.Write(body) // the client of a failed write is gone
}
