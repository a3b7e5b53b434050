package config

import (
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
	section  *section[Listener]
	defaults func(*Listener)
}

var listenerTypes = []listenerType{
	{
		name: "grpc",
		section: listenerSection([]setting[Listener]{maxRequestSize,
			count("max_streams", "1024", func(l *Listener) *int64 { return &l.MaxStreams }, 1, maxConnections),
			flag("http2_guard", func(l *Listener) *bool { return &l.HTTP2Guard })}, otlpBlock),
		defaults: func(l *Listener) { l.MaxRequestSize, l.MaxStreams, l.HTTP2Guard = 16*mib, 1024, true },
	},
	{
		name: "socket",
		section: listenerSection([]setting[Listener]{
			size("max_line_size", "4MiB", func(l *Listener) *int64 { return &l.MaxLineSize }, 1, maxLine)}),
		defaults: func(l *Listener) { l.MaxLineSize = 4 * mib },
	},
	{
		name:    "http",
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

func knownListener(prefix string) []string {
	var names []string
	for _, t := range listenerTypes {
		names = append(names, t.section.known(prefix+t.name+".")...)
	}
	return names
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
			address("address", func(l *Listener) (*string, *string) { return &l.Network, &l.Address }).needed(),
			mode("mode", func(l *Listener) *os.FileMode { return &l.Mode }),
		},
		blocks: append([]child[Listener]{
			optional("tls", &tlsSection, func(l *Listener) **TLS { return &l.TLS }),
			optional("auth", &authSection, func(l *Listener) **Auth { return &l.Auth }),
		}, blocks...),
		check: checkListener,
	}
	s.settings = append(s.settings, own...)
	s.settings = append(s.settings,
		count("max_connections", "1024", func(l *Listener) *int64 { return &l.MaxConnections }, 1, maxConnections),
		flag("insecure", func(l *Listener) *bool { return &l.Insecure }))
	return s
}

var maxRequestSize = size("max_request_size", "16MiB", func(l *Listener) *int64 { return &l.MaxRequestSize }, 1, gib)

func httpSettings() []setting[Listener] {
	return lifted(&section[HTTP]{settings: []setting[HTTP]{
		text("key_header", `the name of a header, like "X-Partition-Key"`, func(h *HTTP) *string { return &h.KeyHeader }, wrongHeader),
		text("key_field", `a field of a JSON body, like "user.id"`, func(h *HTTP) *string { return &h.KeyField }, wrongField),
		list("cors_origins", `a list of origins, like ["https://shop.example"], or ["*"]`, func(h *HTTP) *[]string { return &h.CORSOrigins }, wrongOrigin),
		duration("read_timeout", "30s", func(h *HTTP) *time.Duration { return &h.ReadTimeout }, shortest),
	}}, func(l *Listener) *HTTP { return &l.HTTP })
}

var (
	pixelBlock = child[Listener]{name: "pixel", labels: []string{"PATH"}, read: readPixel, known: pixelSection.known}

	pixelSection = section[Pixel]{
		settings: []setting[Pixel]{
			text("stream", streamOfFile, func(p *Pixel) *string { return &p.Stream }, wrongStream).needed(),
			text("key", `a parameter of the query, like "uid"`, func(p *Pixel) *string { return &p.Key }, notEmpty).needed(),
			list("headers", `a list of headers, like ["User-Agent"]`, func(p *Pixel) *[]string { return &p.Headers }, wrongHeader),
		},
		check: func(b *block, p *Pixel) { b.refer("stream", p.Stream) },
	}

	otlpBlock = inner("otlp", &otlpSection, func(l *Listener) *OTLP {
		l.OTLP = &OTLP{Key: "service.name"}
		return l.OTLP
	})

	otlpSection = section[OTLP]{
		settings: []setting[OTLP]{
			text("stream", streamOfFile, func(o *OTLP) *string { return &o.Stream }, wrongStream).needed(),
			text("key", `an attribute, like "service.name"`, func(o *OTLP) *string { return &o.Key }, notEmpty),
		},
		check: func(b *block, o *OTLP) { b.refer("stream", o.Stream) },
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
func (b *block) refer(setting, name string) {
	if b.wrote(setting) {
		b.r.refers = append(b.r.refers, reference{name, b.at(setting)})
	}
}

func (r *reader) checkReferences(c *Config) {
	for _, ref := range r.refers {
		if _, ok := c.Match(ref.name); !ok {
			r.faults.add(ref.pos, "stream: no stream block matches %s; allowed is %s", quote(ref.name), streamOfFile)
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
