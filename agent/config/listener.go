package config

import (
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/standpipe/standpipe/agent/config/internal/rule"
	"github.com/standpipe/standpipe/agent/config/internal/schema"
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

const mqttType = "mqtt"

// listenerType is the TYPE of a listener block.
type listenerType struct {
	name     string
	meaning  string
	section  *schema.Section[Listener]
	defaults func(*Listener)
}

var listenerTypes = []listenerType{
	{
		name:    "grpc",
		meaning: "gRPC, with the service standpipe.v1.Ingest. A file without listeners has this one at 127.0.0.1:7710.",
		section: listenerSection([]schema.Setting[Listener]{maxRequestSize,
			schema.Count("max_streams", "1024", func(l *Listener) *int64 { return &l.MaxStreams }, 1, maxConnections).
				Means("The limit for concurrent requests on one connection. More wait."),
			schema.Flag("http2_guard", func(l *Listener) *bool { return &l.HTTP2Guard }).
				Means("Limits the half-sent requests of all connections together.")}, otlpBlock),
		defaults: func(l *Listener) { l.MaxRequestSize, l.MaxStreams, l.HTTP2Guard = 16*mib, 1024, true },
	},
	{
		name:    "socket",
		meaning: "Newline-delimited JSON, with one response line for each line.",
		section: listenerSection([]schema.Setting[Listener]{
			schema.Size("max_line_size", "4MiB", func(l *Listener) *int64 { return &l.MaxLineSize }, 1, maxLine).
				Means("The limit for one line. Longer lines get an error.")}),
		defaults: func(l *Listener) { l.MaxLineSize = 4 * mib },
	},
	{
		name:    "http",
		meaning: "HTTP, with POST /v1/streams/STREAM?key=KEY.",
		section: listenerSection(append([]schema.Setting[Listener]{maxRequestSize}, httpSettings()...), pixelBlock, otlpBlock),
		defaults: func(l *Listener) {
			l.MaxRequestSize, l.HTTP = 16*mib, HTTP{KeyHeader: "X-Partition-Key", ReadTimeout: 30 * time.Second}
		},
	},
	{
		name:     mqttType,
		meaning:  "MQTT 3.1.1 and 5, for publishes. Nobody can subscribe.",
		section:  listenerSection([]schema.Setting[Listener]{maxRequestSize, websocketOrigins}, topicBlock),
		defaults: func(l *Listener) { l.MaxRequestSize = 16 * mib },
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

func describeListeners(d *schema.Description, at schema.Place, _ *Config) {
	for _, t := range listenerTypes {
		d.Open(fmt.Sprintf("listener %q", t.name), t.meaning)
		defaults := t.newListener()
		t.section.Describe(d, schema.Place{Path: at.Path + t.name + ".", Restart: at.Restart}, &defaults)
	}
}

func readListener(b *schema.Block, c *Config) {
	t, known := listenerTypeOf(b.Labels[0])
	if !known {
		var names []string
		for _, t := range listenerTypes {
			names = append(names, t.name)
		}
		b.Fault(b.LabelPos[0], "listener type %s is unknown; %s", schema.Quote(b.Labels[0]), schema.Instead(b.Labels[0], names))
		return
	}
	l := t.newListener()
	l.Pos = b.Head
	t.section.Read(b, &l)
	c.Listeners = append(c.Listeners, l)
}

// listenerSection has the settings of all listeners and the own ones of a type.
func listenerSection(own []schema.Setting[Listener], blocks ...schema.Child[Listener]) *schema.Section[Listener] {
	s := &schema.Section[Listener]{
		Settings: []schema.Setting[Listener]{
			schema.Address("address", func(l *Listener) (*string, *string) { return &l.Network, &l.Address }).Needed().
				Means("The address that the listener binds."),
			schema.Mode("mode", func(l *Listener) *os.FileMode { return &l.Mode }).ByDefault("\"0660\" for a unix socket").
				Means("The permissions of the socket file, for a unix socket."),
		},
		Blocks: append([]schema.Child[Listener]{
			optional("tls", &tlsSection, func(l *Listener) **TLS { return &l.TLS }).
				Means("Serves TLS."),
			optional("auth", &authSection, func(l *Listener) **Auth { return &l.Auth }).
				Means("Accepts only known callers."),
		}, blocks...),
		Check: checkListener,
	}
	s.Settings = append(s.Settings, own...)
	s.Settings = append(s.Settings,
		schema.Count("max_connections", "1024", func(l *Listener) *int64 { return &l.MaxConnections }, 1, maxConnections).
			Means("The limit for open connections. One more evicts an idle connection or is rejected."),
		schema.Flag("insecure", func(l *Listener) *bool { return &l.Insecure }).
			Means("Allows an address that is not loopback without tls and auth."))
	return s
}

var maxRequestSize = schema.Size("max_request_size", "16MiB", func(l *Listener) *int64 { return &l.MaxRequestSize }, 1, gib).
	Means("The limit for the size of a request, also after decompression.")

func httpSettings() []schema.Setting[Listener] {
	return schema.Lifted(&schema.Section[HTTP]{Settings: []schema.Setting[HTTP]{
		schema.Text("key_header", `the name of a header, like "X-Partition-Key"`, func(h *HTTP) *string { return &h.KeyHeader }, rule.Header).
			Means("The header with the partition key, for requests without key in the query."),
		schema.Text("key_field", `a field of a JSON body, like "user.id"`, func(h *HTTP) *string { return &h.KeyField }, rule.Field).
			Means("The field of a JSON body with the partition key."),
		schema.Strings("cors_origins", `a list of origins, like ["https://shop.example"], or ["*"]`, func(h *HTTP) *[]string { return &h.CORSOrigins }, rule.Origin).
			Means("The origins of the pages that may send."),
		schema.Duration("read_timeout", "30s", func(h *HTTP) *time.Duration { return &h.ReadTimeout }, shortest).
			Means("The time for receiving a request, and again for each 256 KiB of it."),
	}}, func(l *Listener) *HTTP { return &l.HTTP })
}

var (
	pixelBlock = schema.Child[Listener]{Name: "pixel", Labels: []string{"PATH"}, Read: readPixel,
		Describe: func(d *schema.Description, at schema.Place, _ *Listener) { pixelSection.Describe(d, at, new(Pixel)) },
		Meaning:  "Each GET of the path is an event: a line of JSON with the query."}

	pixelSection = schema.Section[Pixel]{
		Settings: []schema.Setting[Pixel]{
			schema.Text("stream", streamOfFile, func(p *Pixel) *string { return &p.Stream }, rule.Stream).Needed().
				Means("The target stream."),
			schema.Text("key", `a parameter of the query, like "uid"`, func(p *Pixel) *string { return &p.Key }, schema.NotEmpty).Needed().
				Means("The query parameter with the partition key."),
			schema.Strings("headers", `a list of headers, like ["User-Agent"]`, func(p *Pixel) *[]string { return &p.Headers }, rule.Header).
				Means("The request headers to record."),
		},
		Check: func(b *schema.Block, p *Pixel) { refer(b, "stream", p.Stream) },
	}

	otlpBlock = schema.Inner("otlp", &otlpSection, func(l *Listener) *OTLP {
		l.OTLP = &OTLP{Key: "service.name"}
		return l.OTLP
	}).Means("Accepts OpenTelemetry logs.")

	otlpSection = schema.Section[OTLP]{
		Settings: []schema.Setting[OTLP]{
			schema.Text("stream", streamOfFile, func(o *OTLP) *string { return &o.Stream }, rule.Stream).Needed().
				Means("The target stream. Each log record becomes an OTLP/JSON document."),
			schema.Text("key", `an attribute, like "service.name"`, func(o *OTLP) *string { return &o.Key }, schema.NotEmpty).
				Means("The record or resource attribute with the partition key."),
		},
		Check: func(b *schema.Block, o *OTLP) { refer(b, "stream", o.Stream) },
	}
)

const streamOfFile = "the name of a stream that a stream block has or matches"

func readPixel(b *schema.Block, l *Listener) {
	path := b.Labels[0]
	if wrong := rule.Path(path); wrong != "" {
		b.Fault(b.LabelPos[0], `pixel path %s %s; allowed is a path outside of /v1/, like "/p.gif"`, schema.Quote(path), wrong)
	}
	for _, other := range l.HTTP.Pixels {
		if other.Path == path {
			b.Fault(b.LabelPos[0], "pixel %s is given twice; a path may stand once in its listener", schema.Quote(path))
		}
	}
	p := Pixel{Path: path}
	pixelSection.Read(b, &p)
	l.HTTP.Pixels = append(l.HTTP.Pixels, p)
}

// reference is the name of a stream in a listener block.
type reference struct {
	name string
	pos  Pos
}

// refer stores a reference, which checkReferences looks up after all streams are read.
func refer(b *schema.Block, setting, name string) {
	if b.Wrote(setting) {
		stateOf(b).refers = append(stateOf(b).refers, reference{name, b.At(setting)})
	}
}

func (st *state) checkReferences(b *schema.Block, c *Config) {
	for _, ref := range st.refers {
		if _, ok := c.Match(ref.name); !ok {
			var names []string
			for _, s := range c.Streams {
				names = append(names, s.Name)
			}
			instead := "allowed is " + streamOfFile
			if near, ok := schema.Nearest(ref.name, names); ok {
				instead = fmt.Sprintf("did you mean %q?", near)
			}
			b.Fault(ref.pos, "stream: no stream block matches %s; %s", schema.Quote(ref.name), instead)
		}
	}
}
