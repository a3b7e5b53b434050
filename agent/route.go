package agent

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/hashicorp/go-hclog"

	"github.com/standpipe/standpipe/agent/config"
	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/sink"
	"github.com/standpipe/standpipe/wal"
)

// route is one destination of one open stream: its place in the log, its sink and its shipper.
type route struct {
	conf   config.Destination // for this stream, without its place in the file
	title  string             // its type and name, for people
	place  *wal.Place
	sink   shipper.Sink
	ship   *shipper.Shipper
	logger hclog.Logger

	cut     context.CancelFunc
	done    chan struct{} // closed when the shipper has returned
	started sync.Once
	closed  sync.Once
}

// newRoute gives the destination its place and builds its sink. Nothing is dialled.
func (s *streams) newRoute(stream string, d config.Destination) (*route, error) {
	d.Pos = config.Pos{}
	place, err := s.log.Place(stream, d.Name)
	if err != nil {
		return nil, fmt.Errorf("destination %q: %w", d.Name, err)
	}
	place.SetLabel(d.Type)
	logger := s.logger.Named("shipper")
	target, err := openSink(stream, d, s.envelope(stream, d), place, logger)
	if err != nil {
		return nil, fmt.Errorf("destination %q: %w", d.Name, err)
	}
	r := &route{conf: d, title: titleOf(d), place: place, sink: target, logger: logger, done: make(chan struct{})}
	r.ship = shipper.New(shipper.Options{
		Log: s.log, Place: place, Sink: target, Dead: s.dead,
		MaxDelay: d.Batch.MaxDelay,
		Retry:    shipper.Retry{Initial: d.Retry.Initial, Max: d.Retry.Max, Timeout: d.Retry.Timeout},
		Unpaced:  !d.Pace,
		Link:     s.linkOf(d), Bandwidth: d.Bandwidth, Priority: priorities[d.Priority],
		Observer: observer{s, stream, d.Name},
		Logger:   logger,
	})
	return r, nil
}

// titleOf names a destination for people.
func titleOf(d config.Destination) string { return fmt.Sprintf("%s %q", d.Type, d.Name) }

// envelope returns what the destination puts around events; nil: nothing.
func (s *streams) envelope(stream string, d config.Destination) *shipper.Envelope {
	if !d.Envelope {
		return nil
	}
	return &shipper.Envelope{Log: s.log.ID(), Stream: stream, Format: d.Format}
}

// openSink makes the destination that the configuration describes. An AWS destination that can't be
// built on this host as it is now is built later: its stream takes events all the same.
func openSink(stream string, d config.Destination, around *shipper.Envelope, place *wal.Place, logger hclog.Logger) (shipper.Sink, error) {
	switch d.Type {
	case discardType:
		return sink.NewDiscard(discardShape), nil
	case "file":
		return sink.OpenFile(sink.FileOptions{
			Path: d.Path, Stream: stream, RollSize: d.RollSize, RollInterval: d.RollInterval,
			Envelope: around, State: place.State(), Checkpoint: place.Stat().Checkpoint, Logger: logger,
		})
	}
	build := func() (shipper.Sink, error) {
		return buildAWS(d, around, sink.AWSOptions{
			Region: d.AWS.Region, Endpoint: d.AWS.Endpoint, Profile: d.AWS.Profile, RoleARN: d.AWS.RoleARN,
			Timeout: d.Retry.Timeout,
		})
	}
	target, err := build()
	if err == nil {
		return target, nil
	}
	logger.Error("a destination can't be used as it is configured; its events wait", "stream", stream,
		"destination", d.Name, "error", err)
	bare, bareErr := buildAWS(d, around, sink.AWSOptions{Region: "us-east-1", Credentials: aws.AnonymousCredentials{}})
	if bareErr != nil {
		return nil, err
	}
	return &brokenSink{shape: bare.Shape(), build: build}, nil
}

// discardType is a destination that no configuration file can name: benchmarks of what lies before
// the destinations use it. It takes whole batches of lines.
const discardType = "discard"

var discardShape = shipper.Shape{
	Framing: shipper.FramingLines, WholeOrder: true, BatchRecords: 1, BilledStep: 1,
	MaxRecord: 16 << 20, MaxBatch: 16 << 20, AimRecord: 1 << 20, AimBatch: 1 << 20,
}

// buildAWS reads configuration from this host and dials nobody.
func buildAWS(d config.Destination, around *shipper.Envelope, options sink.AWSOptions) (shipper.Sink, error) {
	switch d.Type {
	case "kinesis":
		return sink.NewKinesis(context.Background(), kinesisOptions(d, around, options))
	case "firehose":
		return sink.NewFirehose(context.Background(), firehoseOptions(d, around, options))
	}
	return nil, fmt.Errorf("unknown type %q", d.Type)
}

var priorities = map[string]shipper.Priority{
	"high": shipper.PriorityHigh, "normal": shipper.PriorityNormal, "low": shipper.PriorityLow,
}

// linkOf returns what the destination's requests go over; files go nowhere.
func (s *streams) linkOf(d config.Destination) *shipper.Link {
	if d.Type == "file" {
		return nil
	}
	return s.link
}

// start ships from now on.
func (r *route) start() {
	r.started.Do(func() {
		ctx, cancel := context.WithCancel(context.Background())
		r.cut = cancel
		go func() {
			defer close(r.done)
			learned := r.learn(ctx)
			if err := r.ship.Run(ctx); err != nil && ctx.Err() == nil {
				r.logger.Error("shipping has ended", "stream", r.place.Stream(), "destination", r.conf.Name, "error", err)
			}
			cancel()
			<-learned
		}()
	})
}

// learner is a sink that asks its service what it takes, once, and then follows what it is made of.
type learner interface {
	Learn(ctx context.Context)
	Follow(ctx context.Context)
}

// learn asks at the start, since events that are too large for what is known so far are refused, and would
// never make the sink ask. What it returns is closed when that has ended: after ctx.
func (r *route) learn(ctx context.Context) <-chan struct{} {
	done := make(chan struct{})
	l, ok := r.sink.(learner)
	if !ok {
		close(done)
		return done
	}
	go func() {
		defer close(done)
		l.Learn(ctx)
		l.Follow(ctx)
	}()
	return done
}

// finish ships what is left and then ends.
func (r *route) finish() { r.ship.Finish() }

// wait waits for the end. When ctx ends first, the requests under way are cut off.
func (r *route) wait(ctx context.Context) {
	select {
	case <-r.done:
	case <-ctx.Done():
		r.cut()
		<-r.done
	}
}

// haltPatience is how long a route that is taken away waits for its requests under way; then they are cut off.
const haltPatience = 3 * time.Second

// halt ends shipping, for a route that is taken away.
func (r *route) halt() {
	ctx, cancel := context.WithTimeout(context.Background(), haltPatience)
	defer cancel()
	r.ship.Halt(ctx)
	<-r.done
}

// stuck tells whether a request of the route has not returned: the sink and the place are still in use.
func (r *route) stuck() bool {
	select {
	case <-r.ship.Ended():
		return false
	default:
		return true
	}
}

// close finishes what the sink holds open; the log holds the last checkpoint by now.
func (r *route) close() {
	r.closed.Do(func() {
		if r.stuck() {
			return // what it holds open is cut or finished at the next start
		}
		r.place.Keep(nil)
		if err := r.sink.Close(); err != nil {
			r.logger.Error("a destination could not be finished", "stream", r.place.Stream(), "destination", r.conf.Name, "error", err)
		}
	})
}

// observer passes on to the metrics what the shipper of one route does.
type observer struct {
	streams             *streams
	stream, destination string
}

func (o observer) Request(code string, d time.Duration) {
	o.streams.metrics.Request(o.stream, o.destination, code, d)
}

func (o observer) Retried(reason string, records int) {
	o.streams.metrics.Retried(o.stream, o.destination, reason, records)
}
