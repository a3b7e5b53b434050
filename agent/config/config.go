package config

import (
	"fmt"
	"os"
	"time"
)

// Config is what agent.hcl says, with every default filled in.
type Config struct {
	NodeName        string // default: the host's name
	DataDir         string
	LogLevel        string        // trace, debug, info, warn or error
	LogFormat       string        // text or json
	ShutdownTimeout time.Duration // 0: what is not shipped yet stays in the log
	Bandwidth       int64         // bytes a second of all requests to AWS; 0: no cap
	Listeners       []Listener
	Identities      []Identity
	Admin           Admin
	WAL             WAL
	AWS             AWS // the defaults; every Destination has them merged in
	Prices          Prices
	Streams         []Stream
}

// Listener is where producers connect.
type Listener struct {
	Type             string      // "grpc", "socket" or "http"
	Network, Address string      // "tcp", "127.0.0.1:7710" or "unix", "/run/x.sock"
	Mode             os.FileMode // of a unix socket's file; 0 for tcp
	MaxRequestSize   int64       // bytes; grpc and http
	MaxLineSize      int64       // bytes; socket
	MaxConnections   int64       // more take the place of silent ones, or are turned away
	MaxStreams       int64       // requests under way on one connection; grpc
	Insecure         bool        // an address that is not loopback may go without tls and auth
	HTTP             HTTP
	OTLP             *OTLP // nil: not offered; grpc and http
	TLS              *TLS
	Auth             *Auth
	Pos              Pos
}

// TLS names the files of a listener's certificate. ClientCAFile may be empty.
type TLS struct {
	CertFile, KeyFile, ClientCAFile string
}

// Auth is whom a listener answers.
type Auth struct {
	TokenFile  string   // of tokens that may do all; empty: none
	Identities []string // that may send, or ask; nil: every one of the file
}

// Identity is an identity block: a producer, by what it is known and what it may.
type Identity struct {
	Name                string
	TokenFile           string   // empty: none
	UIDs, GIDs          []int64  // of processes that connect to a unix socket
	Certificates        []string // patterns of names
	Streams             []string // patterns; nil: every stream
	MaxEvents, MaxBytes int64    // a second; 0: no limit
	Pos                 Pos
}

// Admin is where operators connect.
type Admin struct {
	Network, Address string      // as in Listener
	Mode             os.FileMode // of a unix socket's file; 0 for tcp
	Insecure         bool        // an address that is not loopback may go without tls and auth
	TLS              *TLS
	Auth             *Auth // its Identities are never nil: nobody may ask who is not named
	Pos              Pos
}

// WAL is the log.
type WAL struct {
	MaxSize      int64 // bytes of all segments together
	SegmentSize  int64 // bytes; at most a quarter of MaxSize
	SegmentAsked int64 // what the file asked for; more than SegmentSize when that was lowered
	CommitLinger time.Duration
	OnFull       string        // reject, block or drop_oldest
	MaxAge       time.Duration // older events are dropped; 0: none is
	ProducerIdle time.Duration // a producer that is silent for so long is forgotten
	LockTimeout  time.Duration
}

// AWS is how a destination reaches AWS. What is empty is left to the SDK's default chain.
type AWS struct {
	Region, Endpoint, Profile, RoleARN string
}

// Stream is a stream block: one stream, or all whose names match a pattern.
type Stream struct {
	Name         string        // or a pattern, in which * stands for any run of characters
	Format       string        // json, text or bytes
	MaxEventSize int64         // bytes
	Ack          string        // accepted, durable or delivered
	Priority     string        // of its destinations under Config.Bandwidth: high, normal or low
	MaxAge       time.Duration // default: WAL.MaxAge
	MaxSize      int64         // bytes that each stream may hold of the log; 0: no limit of its own
	OnFull       string        // what an append beyond MaxSize meets; empty: as WAL.OnFull
	MaxStreams   int64         // that are made of a pattern; 0 of a name
	Destinations []Destination
	Pos          Pos
}

// Destination is where a stream goes. Two destinations that differ in Pos alone are the same.
type Destination struct {
	Type, Name string // Type is kinesis, firehose or file; Name is unique in the stream
	AWS        AWS    // the file's defaults and this destination's own; kinesis and firehose
	Envelope   bool   // a line of JSON around each event
	Format     string // of the stream's events, where Envelope is set
	Batch      Batch
	Retry      Retry

	Pace  bool  // kinesis and firehose: keep to the quota, and slow down while the service throttles
	Quota Quota // kinesis: of each shard; firehose: of the stream

	Bandwidth int64  // kinesis and firehose: bytes a second of its requests; 0: no cap
	Priority  string // its stream's

	Stream      string // kinesis; a name, or an ARN, whose region goes before AWS.Region; may hold ${stream}
	Aggregate   string // kinesis: kpl, lines or none
	AggregateBy string // kinesis: key or shard
	Order       string // kinesis: key, strict or none; firehose: key or none

	Compression string // kinesis and firehose: none, gzip or zstd

	DeliveryStream  string // firehose; may hold ${stream}
	OneKeyPerRecord bool   // firehose

	Path         string        // file; may hold ${stream}
	RollSize     int64         // file; bytes
	RollInterval time.Duration // file
	FileMode     os.FileMode   // file; 0: 0644 less the umask

	Pos Pos
}

// Batch says how long and for how much events are held together.
type Batch struct {
	MaxDelay   time.Duration // the longest that an event waits for company
	RecordSize int64         // bytes; records are aimed at this size
}

// Quota is what a service takes in a second. A zero is its own default.
type Quota struct {
	Bytes, Records, Requests int64
}

// Retry says how a request that did not go through is tried again, for ever.
type Retry struct {
	Initial, Max time.Duration // the backoff's first and longest delay
	Timeout      time.Duration // of one request
}

// Load reads the file at path. The error is a *FaultsError unless the file could not be read.
func Load(path string) (*Config, error) {
	src, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	return Parse(src, path)
}

// Parse reads a configuration; filename is for the places in the error, which is a *FaultsError.
func Parse(src []byte, filename string) (*Config, error) {
	r := &reader{src: src, file: filename}
	c := defaultConfig()
	r.readFile(c)
	if err := r.faults.err(); err != nil {
		return nil, err
	}
	return c, nil
}
