package config

import (
	"fmt"
	"os"
	"time"

	"github.com/standpipe/standpipe/agent/config/internal/schema"
)

// Config is the contents of agent.hcl, with all defaults filled in.
type Config struct {
	Profile         string // the preset of the settings that the file does not have; empty: none
	NodeName        string // default: the host's name
	DataDir         string
	LogLevel        string        // trace, debug, info, warn or error
	LogFormat       string        // text or json
	ShutdownTimeout time.Duration // for shipping at a stop; the remaining events stay in the log
	DrainDelay      time.Duration // for accepting events after the signal to stop
	Bandwidth       int64         // bytes a second of all requests to AWS together; 0: no cap
	Memory          int64         // bytes that the agent may take; 0: as much as the cgroup or the host allows
	Listeners       []Listener
	Identities      []Identity
	Admin           Admin
	Metrics         Metrics
	WAL             WAL
	AWS             AWS // the defaults, which every Destination includes
	Prices          Prices
	Streams         []Stream

	texts     schema.Texts // of the files
	warnings  []Fault
	explained []Explained
}

// Warnings returns the settings that are valid but surely not as intended, in the order of the files.
func (c *Config) Warnings() []Fault { return c.warnings }

// Explained returns all settings of the configuration with their origin, in the order of the schema.
func (c *Config) Explained() []Explained { return c.explained }

// AddSources adds the source lines to faults that were found after reading.
func (c *Config) AddSources(faults []Fault) { c.texts.AddSources(faults) }

// Listener accepts the connections of producers.
type Listener struct {
	Type             string      // "grpc", "socket", "http" or "mqtt"
	Network, Address string      // "tcp", "127.0.0.1:7710" or "unix", "/run/x.sock"
	Mode             os.FileMode // of a unix socket's file; 0 for tcp
	MaxRequestSize   int64       // bytes; grpc, http and mqtt
	MaxLineSize      int64       // bytes; socket
	MaxConnections   int64       // one more evicts an idle connection or is rejected
	MaxStreams       int64       // concurrent requests on one connection; grpc
	HTTP2Guard       bool        // limits the half-sent requests of all connections together; grpc
	Insecure         bool        // an address that is not loopback needs no TLS and Auth
	HTTP             HTTP
	Topics           []Topic // the first one that matches counts; mqtt
	topicPos         []Pos   // of Topics, while the block is read
	OTLP             *OTLP   // nil: off; grpc and http
	TLS              *TLS
	Auth             *Auth
	Pos              Pos
}

// TLS is the files of a listener's certificate. ClientCAFile may be empty.
type TLS struct {
	CertFile, KeyFile, ClientCAFile string
}

// Auth is the callers that a listener accepts.
type Auth struct {
	TokenFile  string   // of tokens with all rights; empty: none
	Identities []string // with access; nil: all identities of the file
}

// Identity is a producer: its credentials and its rights.
type Identity struct {
	Name                string
	TokenFile           string   // empty: none
	UIDs, GIDs          []int64  // of the processes on a unix socket
	Certificates        []string // patterns of names in client certificates
	Streams             []string // patterns of those that it may write to; nil: every stream
	Read                []string // patterns of those that it may read
	MaxEvents, MaxBytes int64    // a second; 0: no limit
	Pos                 Pos
}

// Admin is the admin listener, where operators connect.
type Admin struct {
	Network, Address string      // as in Listener
	Mode             os.FileMode // of a unix socket's file; 0 for tcp
	Insecure         bool        // an address that is not loopback needs no TLS and Auth
	TLS              *TLS
	Auth             *Auth // its Identities are never nil: an unnamed identity has no access
	Pos              Pos
}

// Metrics is the settings of GET /metrics.
type Metrics struct {
	PerStream string // auto, full or basic
}

// WAL is the settings of the write-ahead log.
type WAL struct {
	MaxSize      int64         // bytes of all segments together
	SegmentSize  int64         // bytes; at most a quarter of MaxSize
	SegmentAsked int64         // as in the file, before lowering
	Linger       Linger        // of streams that have none of their own
	Checkpoints  time.Duration // the longest time until a settlement is synced
	OnFull       string        // reject, block or drop_oldest
	MaxAge       time.Duration // older events are dropped; 0: never
	ProducerIdle time.Duration // the state of a producer is dropped after this time without an append
	LockTimeout  time.Duration
	MinFree      MinFree       // below it, appends are rejected
	Retain       time.Duration // settled segments stay for replay; 0: not at all
}

// Linger is the longest waits of appends for others that share their commit.
type Linger struct {
	Commit   time.Duration // of the ack levels durable and delivered
	Accepted time.Duration // of the ack level accepted
}

// AWS is the way to AWS. Empty fields come from the SDK's default chain.
type AWS struct {
	Region, Endpoint, Profile, RoleARN string
	ExternalID, SessionName            string // of the role's session
}

// Stream is a stream block: one stream, or all whose names match a pattern.
type Stream struct {
	Name         string        // or a pattern: * matches any run of characters
	Format       string        // json, text or bytes
	MaxEventSize int64         // bytes
	Ack          string        // accepted, durable or delivered
	Linger       Linger        // default: WAL.Linger
	Priority     string        // of its destinations under Config.Bandwidth: high, normal or low
	CatchUp      CatchUp       // after an outage
	MaxAge       time.Duration // default: WAL.MaxAge
	MaxSize      int64         // bytes of each stream's backlog; 0: no own limit
	OnFull       string        // for an append beyond MaxSize; empty: as WAL.OnFull
	MaxStreams   int64         // of a pattern; 0 for a name
	Destinations []Destination
	Pos          Pos
}

// Destination is one destination of a stream. Two destinations that differ only in Pos and Provision are the same.
type Destination struct {
	Type, Name string // Type is one of DestinationTypes; Name is unique in the stream
	AWS        AWS    // the file's defaults and this destination's own; kinesis, firehose, kafka, s3 and sqs
	Envelope   string // json or msgpack: each event is wrapped in it; empty: none
	Format     string // the stream's; only set with Envelope, for parquet and for sqs
	Batch      Batch
	Retry      Retry

	Pace  bool  // kinesis, firehose and sqs: keep to the quota, and send less while the service throttles
	Quota Quota // kinesis: of each shard; firehose: of the stream

	Bandwidth int64   // of its requests, in bytes a second, where they leave this host; 0: no cap
	Priority  string  // its stream's
	CatchUp   CatchUp // its stream's, if it can catch up in another order than that of the stream

	Stream      string // kinesis; a name, or an ARN, whose region overrides AWS.Region; may contain ${stream}
	Aggregate   string // kinesis: kpl, lines or none
	AggregateBy string // kinesis: key or shard
	Order       string // kinesis: key, strict or none; firehose: key or none

	Compression string // kinesis and firehose: none, gzip or zstd

	DeliveryStream  string // firehose; may contain ${stream}
	OneKeyPerRecord bool   // firehose

	Provision Provision // kinesis and firehose; a change does not concern the agent

	Path         string        // file; may contain ${stream}
	RollSize     int64         // file; bytes
	RollInterval time.Duration // file
	FileMode     os.FileMode   // file; 0: 0644 minus the umask

	// The settings of one type each. Others have the zero value.
	Kafka  Kafka
	S3     S3
	SQS    SQS
	Relay  Relay
	Statsd Statsd

	Pos Pos
}

// Batch limits the delay and the size of records.
type Batch struct {
	MaxDelay   time.Duration // the longest wait of an event to be batched
	RecordSize int64         // bytes; the target size of records; kinesis, firehose and file
}

// Quota is a service's limits per second. Zero: the sink's default.
type Quota struct {
	Bytes, Records, Requests int64
}

// Retry is the backoff of failed requests, which are retried without end.
type Retry struct {
	Initial, Max time.Duration // the backoff's first and longest delay
	Timeout      time.Duration // of one request
}

// Load reads the file at path, or the files *.hcl of the folder at path as one configuration. The error is a *FaultsError
// unless a file could not be read.
func Load(path string) (*Config, error) {
	files, err := schema.ReadFiles(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	return parse(files)
}

// Parse reads a configuration. The error is a *FaultsError, with filename in its positions.
func Parse(src []byte, filename string) (*Config, error) {
	return parse([]schema.Source{{Name: filename, Text: src}})
}

func parse(files []schema.Source) (*Config, error) {
	c := defaultConfig()
	var err error
	if c.texts, c.warnings, c.explained, err = schema.ReadConfiguration(files, &fileSection, c, markPlaces, &state{wal: c.WAL}); err != nil {
		return nil, err
	}
	return c, nil
}
