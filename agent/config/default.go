package config

import (
	"os"
	"path/filepath"
	"time"
)

const (
	kib = int64(1) << 10
	mib = int64(1) << 20
	gib = int64(1) << 30

	grpcAddress  = "127.0.0.1:7710"
	adminAddress = "127.0.0.1:7712"
)

// DefaultMaxStreams is how many streams a pattern makes unless its block says otherwise.
const DefaultMaxStreams = 1000

func defaultConfig() *Config {
	return &Config{
		NodeName:        hostName(),
		DataDir:         "/var/lib/standpipe",
		LogLevel:        "info",
		LogFormat:       "text",
		ShutdownTimeout: 25 * time.Second,
		Admin:           defaultAdmin(),
		Prices:          Prices{Currency: "USD"},
		WAL: WAL{
			MaxSize:      8 * gib,
			SegmentSize:  64 * mib,
			SegmentAsked: 64 * mib,
			OnFull:       "reject",
			ProducerIdle: 7 * 24 * time.Hour,
			LockTimeout:  30 * time.Second,
		},
	}
}

// hostName never fails: a node whose kernel has no name for it still ships.
func hostName() string {
	name, err := os.Hostname()
	if err != nil || name == "" {
		return "localhost"
	}
	return name
}

func defaultListener(typ string) Listener {
	switch typ {
	case "grpc":
		return Listener{Type: typ, MaxRequestSize: 16 * mib, MaxConnections: 1024, MaxStreams: 1024}
	case "http":
		return Listener{Type: typ, MaxRequestSize: 16 * mib, MaxConnections: 1024, HTTP: HTTP{
			KeyHeader: "X-Partition-Key", ReadTimeout: 30 * time.Second,
		}}
	}
	return Listener{Type: typ, MaxLineSize: 4 * mib, MaxConnections: 1024}
}

// loopbackListener is the one of a file that has no listener block.
func loopbackListener() Listener {
	l := defaultListener("grpc")
	l.Network, l.Address = "tcp", grpcAddress
	return l
}

func defaultAdmin() Admin { return Admin{Network: "tcp", Address: adminAddress} }

func defaultStream(name string) Stream {
	s := Stream{Name: name, Format: "json", MaxEventSize: 1000 * kib, Ack: "durable", Priority: "normal"}
	if isPattern(name) {
		s.MaxStreams = DefaultMaxStreams
	}
	return s
}

func defaultDestination(typ, name string) Destination {
	d := Destination{
		Type:     typ,
		Name:     name,
		Priority: "normal",
		Batch:    Batch{MaxDelay: time.Second, RecordSize: 500 * kib},
		Retry:    Retry{Initial: 100 * time.Millisecond, Max: 30 * time.Second, Timeout: 30 * time.Second},
	}
	d.Pace = typ != "file"
	switch typ {
	case "kinesis":
		d.Aggregate, d.AggregateBy, d.Order, d.Compression = "kpl", "key", "key", "none"
	case "firehose":
		d.Order, d.Compression = "key", "none"
	case "file":
		d.RollSize, d.RollInterval = 64*mib, time.Minute
	}
	return d
}

// Dev returns what the agent runs with when it has no file: all that it writes is in dir, any
// stream is taken, and events become files within a second.
func Dev(dir string) *Config {
	c := defaultConfig()
	c.DataDir = dir
	socket := defaultListener("socket")
	socket.Network, socket.Address, socket.Mode = "unix", filepath.Join(dir, "events.sock"), socketMode
	c.Listeners = []Listener{loopbackListener(), socket}

	local := defaultDestination("file", "local")
	local.Path = filepath.Join(dir, "out", streamMark)
	local.Batch.MaxDelay = 200 * time.Millisecond
	all := defaultStream("*")
	all.Format = "text"
	all.Destinations = []Destination{local}
	c.Streams = []Stream{all}
	return c
}
