package config

import (
	"fmt"
	"net/url"
	"strings"
	"time"
	"unicode"
)

// HTTP is what an HTTP listener has of its own.
type HTTP struct {
	KeyHeader   string        // holds the partition key
	KeyField    string        // of a JSON body, with dots from object to object; may be empty
	CORSOrigins []string      // whose pages may send; "*" is any
	ReadTimeout time.Duration // for a request to arrive
	Pixels      []Pixel
}

// Pixel is a path whose GETs are events.
type Pixel struct {
	Path, Stream string
	Key          string   // the query's parameter that is the partition key
	Headers      []string // that are recorded
}

// OTLP is where a gRPC or HTTP listener puts OpenTelemetry's logs.
type OTLP struct {
	Stream string
	Key    string // the attribute that is the partition key
}

// maxConnections is the most that a listener can be told to have, the most requests of one, and the most streams
// of a pattern.
const maxConnections = 1_000_000

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

// reference is the name of a stream that a listener writes to.
type reference struct {
	name string
	pos  Pos
}

// refer notes a setting that names a stream, to be looked up once all streams are read.
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

// wrongOrigin takes what a browser sends as Origin.
func wrongOrigin(s string) string {
	u, err := url.Parse(s)
	if s == "*" || err == nil && u.Scheme != "" && u.Host != "" && s == u.Scheme+"://"+u.Host {
		return ""
	}
	return "is no origin"
}

// list is a setting of strings, for each of which wrong returns "", or else what is wrong with it.
func list[T any](name, allowed string, field func(*T) *[]string, wrong func(string) string) setting[T] {
	return setting[T]{name: name, allowed: allowed, read: func(v value, into *T) bool {
		elements, ok := v.elements()
		if !ok {
			return false
		}
		var all []string
		for _, e := range elements {
			s, ok := e.text()
			if !ok {
				return false
			}
			if w := wrong(s); w != "" {
				return e.refuse(quote(s) + " " + w)
			}
			all = append(all, s)
		}
		*field(into) = all
		return true
	}}
}

// limiting is list where none at all is less than what is not written: it is empty, not nil.
func limiting[T any](name, allowed string, field func(*T) *[]string, wrong func(string) string) setting[T] {
	s := list(name, allowed, field, wrong)
	read := s.read
	s.read = func(v value, into *T) bool {
		ok := read(v, into)
		if ok && *field(into) == nil {
			*field(into) = []string{}
		}
		return ok
	}
	return s
}

// count is a setting of a whole number.
func count[T any](name, example string, field func(*T) *int64, least, most int64) setting[T] {
	allowed := fmt.Sprintf("a whole number from %d to %d without quotes, like %s", least, most, example)
	return setting[T]{name: name, allowed: allowed, read: func(v value, into *T) bool {
		n, ok := v.number()
		if !ok || n < least || n > most {
			return v.refuse(v.source() + " is no such number")
		}
		*field(into) = n
		return true
	}}
}
