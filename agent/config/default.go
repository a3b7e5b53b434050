package config

import (
	"os"
	"path/filepath"
	"time"

	"github.com/standpipe/standpipe/agent/config/internal/pattern"
)

const (
	kib = int64(1) << 10
	mib = int64(1) << 20
	gib = int64(1) << 30

	socketMode = os.FileMode(0o660)

	grpcAddress  = "127.0.0.1:7710"
	httpAddress  = "127.0.0.1:7711" // of Dev
	adminAddress = "127.0.0.1:7712"
)

// DefaultMaxStreams is the default of a pattern's max_streams.
const DefaultMaxStreams = 1000

// defaultLinger has no wait for callers that wait for the sync.
var defaultLinger = Linger{Accepted: time.Second}

func defaultConfig() *Config {
	return &Config{
		NodeName:        hostName(),
		DataDir:         "/var/lib/standpipe",
		LogLevel:        "info",
		LogFormat:       "text",
		ShutdownTimeout: 25 * time.Second,
		Admin:           defaultAdmin(),
		Metrics:         Metrics{PerStream: "auto"},
		Prices:          Prices{Currency: "USD"},
		WAL: WAL{
			MaxSize:      8 * gib,
			SegmentSize:  64 * mib,
			SegmentAsked: 64 * mib,
			Linger:       defaultLinger,
			Checkpoints:  250 * time.Millisecond,
			OnFull:       "reject",
			ProducerIdle: 7 * 24 * time.Hour,
			LockTimeout:  30 * time.Second,
		},
	}
}

// hostName never fails: a node without a name still ships.
func hostName() string {
	name, err := os.Hostname()
	if err != nil || name == "" {
		return "localhost"
	}
	return name
}

// loopbackListener is the listener of a file without a listener block.
func loopbackListener() Listener {
	grpc, _ := listenerTypeOf("grpc")
	l := grpc.newListener()
	l.Network, l.Address = "tcp", grpcAddress
	return l
}

func defaultAdmin() Admin { return Admin{Network: "tcp", Address: adminAddress} }

func defaultStream(name string) Stream {
	s := Stream{Name: name, Format: "json", MaxEventSize: 1000 * kib, Ack: "durable", Linger: defaultLinger, Priority: "normal", CatchUp: CatchUp{Order: OldestFirst}}
	if pattern.Is(name) {
		s.MaxStreams = DefaultMaxStreams
	}
	return s
}

// Dev returns the configuration of an agent without a file. The agent writes only to dir, accepts every stream name and
// writes events to files within a second. Its ports are the defaults: gRPC on 7710, HTTP on 7711, admin on 7712.
func Dev(dir string) *Config {
	c := defaultConfig()
	c.DataDir = dir
	c.WAL.LockTimeout = time.Second // another agent in the same folder most likely still runs
	socketType, _ := listenerTypeOf("socket")
	socket := socketType.newListener()
	socket.Network, socket.Address, socket.Mode = "unix", filepath.Join(dir, "events.sock"), socketMode
	http, _ := listenerTypeOf("http")
	web := http.newListener()
	web.Network, web.Address = "tcp", httpAddress
	c.Listeners = []Listener{loopbackListener(), socket, web}

	file, _ := destinationTypeOf("file")
	local := file.newDestination("local")
	local.Path = filepath.Join(dir, "out", pattern.StreamMark)
	local.Batch.MaxDelay = 200 * time.Millisecond
	all := defaultStream("*")
	all.Format = "text"
	all.Destinations = []Destination{local}
	c.Streams = []Stream{all}
	return c
}
