package config

import (
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"
	"unicode"
)

// HTTP is the settings that only an HTTP listener has.
type HTTP struct {
	KeyHeader   string        // contains the partition key
	KeyField    string        // of a JSON body, with dots between nested names; may be empty
	CORSOrigins []string      // of the pages that may send; "*": any
	ReadTimeout time.Duration // for receiving a request
	Pixels      []Pixel
}

// Pixel is a path. Each GET of it is an event.
type Pixel struct {
	Path, Stream string
	Key          string   // the query parameter with the partition key
	Headers      []string // to record
}

// OTLP is the target of the OpenTelemetry logs of a gRPC or HTTP listener.
type OTLP struct {
	Stream string
	Key    string // the attribute with the partition key
}

// maxConnections is the largest value of max_connections and of both max_streams.
const maxConnections = 1_000_000

// maxLine is the largest value of max_line_size.
const maxLine = 64 * mib

// listenerType is the TYPE of a listener block.
type listenerType struct {
	name     string
	meaning  string
	section  *section[Listener]
	defaults func(*Listener)
}

var listenerTypes = []listenerType{
	{
		name:    "grpc",
		meaning: "gRPC, with the service standpipe.v1.Ingest. A file without listeners has this one at 127.0.0.1:7710.",
		section: listenerSection([]setting[Listener]{maxRequestSize,
			count("max_streams", "1024", func(l *Listener) *int64 { return &l.MaxStreams }, 1, maxConnections).
				means("The limit for concurrent requests on one connection. More wait."),
			flag("http2_guard", func(l *Listener) *bool { return &l.HTTP2Guard }).
				means("Limits the half-sent requests of all connections together.")}, otlpBlock),
		defaults: func(l *Listener) { l.MaxRequestSize, l.MaxStreams, l.HTTP2Guard = 16*mib, 1024, true },
	},
	{
		name:    "socket",
		meaning: "Newline-delimited JSON, with one response line for each line.",
		section: listenerSection([]setting[Listener]{
			size("max_line_size", "4MiB", func(l *Listener) *int64 { return &l.MaxLineSize }, 1, maxLine).
				means("The limit for one line. Longer lines get an error.")}),
		defaults: func(l *Listener) { l.MaxLineSize = 4 * mib },
	},
	{
		name:    "http",
		meaning: "HTTP, with POST /v1/streams/STREAM?key=KEY.",
		section: listenerSection(append([]setting[Listener]{maxRequestSize}, httpSettings()...), pixelBlock, otlpBlock),
		defaults: func(l *Listener) {
			l.MaxRequestSize, l.HTTP = 16*mib, HTTP{KeyHeader: "X-Partition-Key", ReadTimeout: 30 * time.Second}
		},
	},
}

// newListener returns a listener with the defaults of its type.
func (t listenerType) newListener() Listener {
	l := Listener{Type: t.name, MaxConnections: 1024}
	t.defaults(&l)
	return l
}

func listenerTypeOf(name string) (listenerType, bool) {
	i := slices.IndexFunc(listenerTypes, func(t listenerType) bool { return t.name == name })
	if i < 0 {
		return listenerType{}, false
	}
	return listenerTypes[i], true
}

func describeListeners(d *description, at place, _ *Config) {
	for _, t := range listenerTypes {
		d.open(fmt.Sprintf("listener %q", t.name), t.meaning)
		defaults := t.newListener()
		t.section.describe(d, place{path: at.path + t.name + ".", restart: at.restart}, &defaults)
	}
}

func readListener(b *block, c *Config) {
	t, known := listenerTypeOf(b.labels[0])
	if !known {
		var names []string
		for _, t := range listenerTypes {
			names = append(names, t.name)
		}
		b.fault(b.labelPos[0], "listener type %s is unknown; %s", quote(b.labels[0]), instead(b.labels[0], names))
		return
	}
	l := t.newListener()
	l.Pos = b.head
	t.section.read(b, &l)
	c.Listeners = append(c.Listeners, l)
}

// listenerSection has the settings of all listeners and the own ones of a type.
func listenerSection(own []setting[Listener], blocks ...child[Listener]) *section[Listener] {
	s := &section[Listener]{
		settings: []setting[Listener]{
			address("address", func(l *Listener) (*string, *string) { return &l.Network, &l.Address }).needed().
				means("The address that the listener binds."),
			mode("mode", func(l *Listener) *os.FileMode { return &l.Mode }).byDefault("\"0660\" for a unix socket").
				means("The permissions of the socket file, for a unix socket."),
		},
		blocks: append([]child[Listener]{
			optional("tls", &tlsSection, func(l *Listener) **TLS { return &l.TLS }).
				means("Serves TLS."),
			optional("auth", &authSection, func(l *Listener) **Auth { return &l.Auth }).
				means("Accepts only known callers."),
		}, blocks...),
		check: checkListener,
	}
	s.settings = append(s.settings, own...)
	s.settings = append(s.settings,
		count("max_connections", "1024", func(l *Listener) *int64 { return &l.MaxConnections }, 1, maxConnections).
			means("The limit for open connections. One more evicts an idle connection or is rejected."),
		flag("insecure", func(l *Listener) *bool { return &l.Insecure }).
			means("Allows an address that is not loopback without tls and auth."))
	return s
}

var maxRequestSize = size("max_request_size", "16MiB", func(l *Listener) *int64 { return &l.MaxRequestSize }, 1, gib).
	means("The limit for the size of a request, also after decompression.")

func httpSettings() []setting[Listener] {
	return lifted(&section[HTTP]{settings: []setting[HTTP]{
		text("key_header", `the name of a header, like "X-Partition-Key"`, func(h *HTTP) *string { return &h.KeyHeader }, wrongHeader).
			means("The header with the partition key, for requests without key in the query."),
		text("key_field", `a field of a JSON body, like "user.id"`, func(h *HTTP) *string { return &h.KeyField }, wrongField).
			means("The field of a JSON body with the partition key."),
		list("cors_origins", `a list of origins, like ["https://shop.example"], or ["*"]`, func(h *HTTP) *[]string { return &h.CORSOrigins }, wrongOrigin).
			means("The origins of the pages that may send."),
		duration("read_timeout", "30s", func(h *HTTP) *time.Duration { return &h.ReadTimeout }, shortest).
			means("The time for receiving a request, and again for each 256 KiB of it."),
	}}, func(l *Listener) *HTTP { return &l.HTTP })
}

var (
	pixelBlock = child[Listener]{name: "pixel", labels: []string{"PATH"}, read: readPixel,
		describe: func(d *description, at place, _ *Listener) { pixelSection.describe(d, at, new(Pixel)) },
		meaning:  "Each GET of the path is an event: a line of JSON with the query."}

	pixelSection = section[Pixel]{
		settings: []setting[Pixel]{
			text("stream", streamOfFile, func(p *Pixel) *string { return &p.Stream }, wrongStream).needed().
				means("The target stream."),
			text("key", `a parameter of the query, like "uid"`, func(p *Pixel) *string { return &p.Key }, notEmpty).needed().
				means("The query parameter with the partition key."),
			list("headers", `a list of headers, like ["User-Agent"]`, func(p *Pixel) *[]string { return &p.Headers }, wrongHeader).
				means("The request headers to record."),
		},
		check: func(b *block, p *Pixel) { refer(b, "stream", p.Stream) },
	}

	otlpBlock = inner("otlp", &otlpSection, func(l *Listener) *OTLP {
		l.OTLP = &OTLP{Key: "service.name"}
		return l.OTLP
	}).means("Accepts OpenTelemetry logs.")

	otlpSection = section[OTLP]{
		settings: []setting[OTLP]{
			text("stream", streamOfFile, func(o *OTLP) *string { return &o.Stream }, wrongStream).needed().
				means("The target stream. Each log record becomes an OTLP/JSON document."),
			text("key", `an attribute, like "service.name"`, func(o *OTLP) *string { return &o.Key }, notEmpty).
				means("The record or resource attribute with the partition key."),
		},
		check: func(b *block, o *OTLP) { refer(b, "stream", o.Stream) },
	}
)

const streamOfFile = "the name of a stream that a stream block has or matches"

func readPixel(b *block, l *Listener) {
	path := b.labels[0]
	if wrong := wrongPath(path); wrong != "" {
		b.fault(b.labelPos[0], `pixel path %s %s; allowed is a path outside of /v1/, like "/p.gif"`, quote(path), wrong)
	}
	for _, other := range l.HTTP.Pixels {
		if other.Path == path {
			b.fault(b.labelPos[0], "pixel %s is given twice; a path may stand once in its listener", quote(path))
		}
	}
	p := Pixel{Path: path}
	pixelSection.read(b, &p)
	l.HTTP.Pixels = append(l.HTTP.Pixels, p)
}

// reference is the name of a stream in a listener block.
type reference struct {
	name string
	pos  Pos
}

// refer stores a reference, which checkReferences looks up after all streams are read.
func refer(b *block, setting, name string) {
	if b.wrote(setting) {
		stateOf(b).refers = append(stateOf(b).refers, reference{name, b.at(setting)})
	}
}

func (st *state) checkReferences(b *block, c *Config) {
	for _, ref := range st.refers {
		if _, ok := c.Match(ref.name); !ok {
			b.fault(ref.pos, "stream: no stream block matches %s; allowed is %s", quote(ref.name), streamOfFile)
		}
	}
}

func wrongStream(s string) string {
	if err := ValidStreamName(s); err != nil {
		return "is no stream's name"
	}
	return ""
}

func wrongPath(s string) string {
	switch {
	case !strings.HasPrefix(s, "/"):
		return "does not begin with /"
	case s == "/v1" || strings.HasPrefix(s, "/v1/"):
		return "is the listener's own"
	case strings.ContainsFunc(s, func(c rune) bool { return c <= ' ' || c > '~' || c == '?' || c == '#' || c == '%' }):
		return "has a character that a path is not written with"
	}
	return ""
}

func wrongHeader(s string) string {
	if s == "" {
		return "is empty"
	}
	if strings.ContainsFunc(s, func(c rune) bool { return c > unicode.MaxASCII || !nameChar(c) }) {
		return "has a character that is not of A-Z a-z 0-9 . _ -"
	}
	return ""
}

func wrongField(s string) string {
	if s != "" && strings.Contains("."+s+".", "..") {
		return "has an empty name between its dots"
	}
	return ""
}

// wrongOrigin accepts the values of a browser's Origin header.
func wrongOrigin(s string) string {
	u, err := url.Parse(s)
	if s == "*" || err == nil && u.Scheme != "" && u.Host != "" && s == u.Scheme+"://"+u.Host {
		return ""
	}
	return "is no origin"
}
