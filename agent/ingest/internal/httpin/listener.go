package httpin

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/standpipe/standpipe/agent/ingest/internal/intake"
	"github.com/standpipe/standpipe/agent/ingest/internal/otlp"
)

// Options are the settings that only an HTTP listener has. The zero value of a field means its default.
type Options struct {
	KeyHeader string   // holds the partition key; default X-Partition-Key
	KeyField  string   // of a JSON body, with dots from object to object; default: none
	Origins   []string // of pages that may send, such as https://shop.example; "*" is any; default: none
	Pixels    []Pixel  // default: none

	ReadTimeout time.Duration // for a request to arrive, and for every 256 KiB of it; default 30 s
}

// Defaults of HTTPOptions.
const (
	DefaultKeyHeader   = "X-Partition-Key"
	DefaultReadTimeout = 30 * time.Second
)

const (
	// headerTime is how long a request's header may take.
	headerTime = 10 * time.Second
	// idleTime is how long a connection may stay open between requests.
	idleTime = 2 * time.Minute
	// lastBytes is how long the rest of a request may take once the listener drains.
	lastBytes = time.Second

	maxHeaderBytes = 16 << 10
)

func (o *Options) fill() {
	if o.KeyHeader == "" {
		o.KeyHeader = DefaultKeyHeader
	}
	if o.ReadTimeout <= 0 {
		o.ReadTimeout = DefaultReadTimeout
	}
}

// Listener is the HTTP listener.
type Listener struct {
	in        *intake.Intake
	server    *http.Server
	tls       *tls.Config
	posts     *posts
	origins   map[string]bool
	pixels    map[string]*Pixel // by path
	otlp      *otlp.Logs        // nil: not offered
	signals   *otlp.Signals     // nil as otlp is
	preflight string            // the headers that a page may send

	ctx    context.Context // ends with Cut
	cancel context.CancelFunc
	// answering is read-locked by every request until it is answered; Drain waits for the lock.
	answering sync.RWMutex
}

// Config are the settings of newHTTP.
type Config struct {
	Options
	MaxRequestSize int // bytes of a body, compressed or not
	OTLP           *otlp.Options
	TLS            *tls.Config
}

func New(in *intake.Intake, o Config) *Listener {
	h := o.Options
	h.fill()
	w := &Listener{
		in: in, tls: o.TLS, posts: newPosts(in, o.MaxRequestSize, &h),
		origins: make(map[string]bool), pixels: make(map[string]*Pixel),
		preflight: "Authorization, Content-Encoding, Content-Type, " + strings.Join(append(postHeaders, h.KeyHeader), ", "),
	}
	for _, origin := range h.Origins {
		w.origins[origin] = true
	}
	for i := range h.Pixels {
		w.pixels[h.Pixels[i].Path] = &h.Pixels[i]
	}
	if o.OTLP != nil {
		w.otlp, w.signals = otlp.New(in, o.OTLP, o.MaxRequestSize), &otlp.Signals{Logger: in.Logger}
	}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	w.server = &http.Server{
		Handler: w, ConnContext: connContext,
		ReadHeaderTimeout: min(headerTime, h.ReadTimeout), ReadTimeout: h.ReadTimeout, IdleTimeout: idleTime,
		MaxHeaderBytes: maxHeaderBytes,
		ErrorLog:       in.Logger.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
	}
	return w
}

// Serve serves the connections of l until Drain or Cut.
func (w *Listener) Serve(l net.Listener) error {
	l = w.in.Conns.Listener(l)
	if w.tls != nil {
		conf := w.tls.Clone()
		conf.NextProtos = []string{"http/1.1"}
		l = tls.NewListener(l, conf)
	}
	err := w.server.Serve(l)
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// Drain ends the listener. A request that has not arrived whole has another second.
func (w *Listener) Drain() {
	w.in.Conns.CloseSilent()
	w.in.Conns.SetReadDeadline(time.Now().Add(lastBytes))
	w.server.Shutdown(w.ctx) // its error is that of Cut
	w.answering.Lock()
	//lint:ignore SA2001 the lock waits for the requests in progress
	w.answering.Unlock()
	w.posts.decompressors.close()
}

// Cut closes every connection.
func (w *Listener) Cut() {
	w.cancel()
	w.server.Close()
}

// ServeHTTP answers one request.
// Serve serves the connections of l until Drain or Cut.
func (w *Listener) ServeHTTP(out http.ResponseWriter, r *http.Request) {
	w.answering.RLock()
	defer w.answering.RUnlock()
	if refused := w.route(out, r); refused != nil {
		writeRejection(out, refused)
	}
}

const (
	streamsPath = "/v1/streams/"
	logsPath    = "/v1/logs"
)

// route dispatches a request by its path, after the caller is admitted. A returned rejection is counted already.
func (w *Listener) route(out http.ResponseWriter, r *http.Request) *intake.Rejection {
	stream, post := strings.CutPrefix(r.URL.Path, streamsPath)
	pixel := w.pixels[r.URL.Path]
	logs := w.otlp != nil && r.URL.Path == logsPath
	method := http.MethodPost
	if pixel != nil {
		method = http.MethodGet
	}
	switch refused := w.fromPage(out, r, method); {
	case refused != nil:
		return w.count(refused)
	case w.otlp != nil && otherSignals[r.URL.Path] != "":
		w.signals.LogRejected(otherSignals[r.URL.Path])
		return w.count(notTaken(otherSignals[r.URL.Path]))
	case !post && !logs && pixel == nil:
		return w.count(errNoPath)
	case r.Method == http.MethodOptions:
		out.Header().Set("Allow", method+", OPTIONS")
		out.WriteHeader(http.StatusNoContent)
		return nil
	case r.Method != method:
		out.Header().Set("Allow", method+", OPTIONS")
		return w.count(wrongMethod(method))
	}
	r, refused := w.admitted(out, r)
	if refused != nil {
		return w.count(refused)
	}
	if w.in.IsDraining() {
		out.Header().Set("Connection", "close")
		return w.count(intake.ErrDraining)
	}
	switch {
	case pixel != nil:
		return w.record(out, r, pixel)
	case logs:
		return w.export(out, r)
	}
	return w.posts.respond(out, r, stream)
}

func (w *Listener) count(r *intake.Rejection) *intake.Rejection {
	w.in.Observer.Refused("", r.Reason, 1)
	return r
}

var errNoPath = func() *intake.Rejection {
	r := intake.Invalid("there is nothing at this path; POST /v1/streams/STREAM stores events")
	r.Status = http.StatusNotFound
	return r
}()

func wrongMethod(allowed string) *intake.Rejection {
	r := intake.Invalid("the method is not allowed here; %s is", allowed)
	r.Status = http.StatusMethodNotAllowed
	return r
}
