package ingest

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/standpipe/standpipe/agent/ingest/internal/connlimit"
	"github.com/standpipe/standpipe/agent/ingest/internal/grpcin"
	"github.com/standpipe/standpipe/agent/ingest/internal/httpin"
	"github.com/standpipe/standpipe/agent/ingest/internal/intake"
	"github.com/standpipe/standpipe/agent/ingest/internal/mqttin"
	"github.com/standpipe/standpipe/agent/ingest/internal/otlp"
	"github.com/standpipe/standpipe/agent/ingest/internal/readout"
	"github.com/standpipe/standpipe/agent/ingest/internal/socketin"
	"github.com/standpipe/standpipe/agent/internal/access"
	"github.com/standpipe/standpipe/wal/timeline"
)

// The listeners there are.
const (
	GRPC   = "grpc"   // standpipe.v1.Ingest
	Socket = "socket" // newline-delimited JSON
	HTTP   = "http"   // POST /v1/streams/STREAM
	MQTT   = "mqtt"   // PUBLISH of MQTT 3.1.1 and 5
)

// Defaults of Options.
const (
	DefaultMaxRequestSize = 16 << 20
	DefaultMaxLineSize    = 4 << 20
	DefaultMaxConnections = 1024
	DefaultMaxStreams     = 1024
)

// Options are the settings of a listener. The zero value of a field means its default.
type Options struct {
	Type string // GRPC, Socket, HTTP or MQTT

	Network string      // "tcp" or "unix"
	Address string      // host:port or the path of the socket
	Mode    os.FileMode // of the file of a unix socket; 0: as the umask makes it
	// Listener, when set, is served instead of Network and Address, and closed at the end.
	Listener net.Listener

	Log      intake.Log
	Streams  intake.Streams
	Observer intake.Observer       // default: none
	Logger   hclog.Logger          // default: none
	Clock    func() timeline.Stamp // default: time.Now
	Relays   Relays                // default: paths of relayed requests are not checked

	MaxRequestSize int // bytes of a gRPC request, an HTTP body or an MQTT packet; default 16 MiB
	MaxLineSize    int // bytes of a socket's line without its newline; default 4 MiB

	// Budget is the number of bytes that the large and half-sent requests hold together, or unfinished lines of a socket;
	// default 64 MiB, or four of the largest.
	Budget int64

	MaxConnections int // a new one evicts an idle one, or is rejected; default 1024
	MaxStreams     int // requests and streams in progress on one connection of a gRPC listener; default 1024

	// NoHTTP2Guard removes the limits of a gRPC listener for the bytes and the number of the half-sent requests of all
	// connections together. It is for the case that the guard itself has a fault.
	NoHTTP2Guard bool

	// Reads is the log whose events a gRPC listener offers to callers that may read; default: none. Without a guard that
	// is every caller.
	Reads readout.Log

	HTTP httpin.Options
	MQTT mqttin.Options
	OTLP *otlp.Options // of a gRPC or HTTP listener; default: not offered

	TLS *tls.Config // default: none
	// Guard, when set, decides which producers may send. A gRPC or HTTP request carries a token as "authorization:
	// Bearer TOKEN", or as the password of basic authentication; a connection to a socket may begin with the line
	// {"token":"TOKEN"}, and a CONNECT of MQTT has it as its password.
	Guard *access.Guard
}

// DefaultBudget is the default of Options.Budget for requests of at most largest bytes.
func DefaultBudget(largest int64) int64 { return intake.DefaultBudget(largest) }

func (o *Options) validate() error {
	if o.Type != GRPC && o.Type != Socket && o.Type != HTTP && o.Type != MQTT {
		return fmt.Errorf("ingest: a listener of type %q is none of %s, %s, %s and %s", o.Type, GRPC, Socket, HTTP, MQTT)
	}
	if o.Log == nil || o.Streams == nil {
		return fmt.Errorf("ingest: a listener needs a log and streams")
	}
	if o.Observer == nil {
		o.Observer = intake.NoObserver{}
	}
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	if o.Clock == nil {
		o.Clock = func() timeline.Stamp { return timeline.Stamp{At: time.Now().UnixNano()} }
	}
	if o.MaxRequestSize <= 0 {
		o.MaxRequestSize = DefaultMaxRequestSize
	}
	if o.MaxLineSize <= 0 {
		o.MaxLineSize = DefaultMaxLineSize
	}
	if o.MaxConnections <= 0 {
		o.MaxConnections = DefaultMaxConnections
	}
	if o.MaxStreams <= 0 {
		o.MaxStreams = DefaultMaxStreams
	}
	return nil
}

// Server is one listener: New binds it, Serve serves it, Stop ends it.
type Server struct {
	listener net.Listener
	wire     wire
	in       *intake.Intake
	draining chan struct{} // closed by the first Stop
	drain    sync.Once
	ended    sync.Once
	// giveUp ends the waits for deliveries (ack delivered).
	giveUp context.CancelFunc
}

// lastReplies is the time for the responses of requests whose waits for delivery Stop gave up.
const lastReplies = 250 * time.Millisecond

// wire is the protocol of a listener.
type wire interface {
	Serve(l net.Listener) error
	// Drain returns when all submitted requests have their responses and every connection is closed. The draining
	// channel is closed before.
	Drain()
	// Cut closes every connection, so that Drain returns.
	Cut()
}

// New binds the listener. From then on producers may connect, and wait for Serve.
func New(o Options) (*Server, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	l := o.Listener
	if l == nil {
		var err error
		if l, err = Listen(o.Network, o.Address, o.Mode); err != nil {
			return nil, err
		}
	}
	s := &Server{listener: l, draining: make(chan struct{})}
	hurry, giveUp := context.WithCancel(context.Background())
	s.giveUp = giveUp
	in := intake.New(intake.Options{
		Listener: o.Type, Log: o.Log, Streams: o.Streams, Observer: o.Observer, Clock: o.Clock, Guard: o.Guard, Logger: o.Logger,
		Relays: o.Relays, MaxHeld: o.Budget, Draining: s.draining, Hurry: hurry, Conns: connlimit.New(connections(&o, s.draining)),
	})
	s.in = in
	switch o.Type {
	case GRPC:
		s.wire = grpcin.New(in, &grpcin.Options{
			MaxRequestSize: o.MaxRequestSize, MaxStreams: o.MaxStreams, NoHTTP2Guard: o.NoHTTP2Guard,
			OTLP: o.OTLP, TLS: o.TLS, Reads: o.Reads,
		})
	case HTTP:
		s.wire = httpin.New(in, httpin.Config{Options: o.HTTP, MaxRequestSize: o.MaxRequestSize, OTLP: o.OTLP, TLS: o.TLS})
	case MQTT:
		wire, err := mqttin.New(in, mqttin.Config{Options: o.MQTT, MaxPacketSize: o.MaxRequestSize, TLS: o.TLS})
		if err != nil {
			s.end()
			return nil, err
		}
		s.wire = wire
	default:
		s.wire = socketin.New(in, o.MaxLineSize, o.TLS)
	}
	return s, nil
}

// connections returns the options of the listener's set of connections.
func connections(o *Options, draining <-chan struct{}) connlimit.Options {
	c := connlimit.Options{
		Max: int64(o.MaxConnections), Draining: draining, Logger: o.Logger,
		Changed:  func(change int) { o.Observer.Connected(o.Type, change) },
		Rejected: func() { o.Observer.TurnedAway(o.Type) },
	}
	if o.Guard != nil {
		c.Addr = intake.PeerAddrOf
	}
	switch {
	case o.TLS != nil:
	case o.Type == HTTP:
		c.Response = httpin.RejectConn
	case o.Type == Socket:
		c.Response = socketin.RejectConn
	}
	return c
}

// Patient returns a listener for l whose accepts do not fail until it is closed.
func Patient(l net.Listener, logger hclog.Logger) net.Listener { return connlimit.Patient(l, logger) }

// Addr is where the listener listens.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// LimitConnections sets the limit of connections, at least 1. Open connections stay.
func (s *Server) LimitConnections(most int64) { s.in.Conns.SetMax(max(most, 1)) }

// Serve accepts connections until Stop, when it returns nil. The end of ctx closes every connection; Stop is needed
// nevertheless.
func (s *Server) Serve(ctx context.Context) error {
	defer context.AfterFunc(ctx, s.wire.Cut)()
	if err := s.wire.Serve(s.listener); err != nil && !s.in.IsDraining() && ctx.Err() == nil {
		return fmt.Errorf("serve %s: %w", s.listener.Addr(), err)
	}
	return nil
}

// Stop rejects new requests, responds to the submitted ones and closes every connection. When ctx ends before that, it
// gives up the waits for deliveries, closes the connections and returns the error of ctx; submitted requests are stored
// all the same. It may be called twice. The log must be open until it returns.
func (s *Server) Stop(ctx context.Context) error {
	s.drain.Do(func() { close(s.draining) })
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.wire.Drain()
		s.ended.Do(s.end)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	s.giveUp()
	select {
	case <-done:
	case <-time.After(lastReplies):
		s.wire.Cut()
		<-done
	}
	return fmt.Errorf("stop %s: %w", s.listener.Addr(), ctx.Err())
}

func (s *Server) end() {
	s.listener.Close()
	s.giveUp()
	s.in.Close()
}
