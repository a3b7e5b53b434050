package agent

import (
	"bytes"
	"context"
	"math/rand/v2"
	"time"

	"github.com/standpipe/standpipe/agent/config"
	"github.com/standpipe/standpipe/agent/internal/destination"
	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/ranged"
)

// build builds the sink and retries after an error. It returns nil when the route is ending.
func (r *route) build(ctx context.Context) *pipeline {
	defer r.attempted.set()
	for delay := r.conf.Retry.Initial; ; delay = min(2*delay, r.conf.Retry.Max) {
		done, ok := r.streams.slots.Acquire(ctx)
		if !ok || ctx.Err() != nil || r.halting.isSet() {
			return nil
		}
		branches := r.streams.log.Branches(r.stream)
		around := destination.Envelope(branches, r.stream, r.conf)
		before := r.cursor.State()
		target, err := destination.Open(ctx, destination.Spec{
			Destination: r.conf, EventStream: r.stream, Around: around, Branches: branches, Cursor: r.cursor, Logger: r.logger,
			Upstreams: r.streams.upstreams,
		})
		done()
		if err == nil {
			r.built()
			s := r.newPipeline(target)
			if !bytes.Equal(before, r.cursor.State()) && !r.stored(r.halting, r.finishing) {
				s.sink.Close()
				return nil
			}
			return s
		}
		wait := delay - rand.N(delay/5+1) // several agents with the same cause do not retry in lockstep
		r.block(err, wait)
		r.attempted.set()
		select {
		case <-time.After(wait):
		case <-r.again:
		case <-r.halting.c:
			return nil
		case <-r.finishing.c:
			return nil
		case <-ctx.Done():
			return nil
		}
	}
}

// newPipeline returns the sink with its shipper.
func (r *route) newPipeline(target destination.Target) *pipeline {
	s, d := r.streams, r.conf
	typ, _ := destination.Of(d) // known: Open has used it
	retry := shipper.Retry{Initial: d.Retry.Initial, Max: d.Retry.Max, Timeout: d.Retry.Timeout}
	var link *shipper.Link
	if typ.UsesLink {
		link = s.link
	}
	if target.Ranges != nil {
		return &pipeline{target.Ranges, ranged.New(ranged.Options{
			Source: s.log, Cursor: destination.TaggedCursor{Cursor: r.cursor, Type: d.Type}, Sink: target.Ranges, Dead: s.dead,
			MaxDelay: d.Batch.MaxDelay, Retry: retry,
			Link: link, Bandwidth: d.Bandwidth, Priority: priorities[d.Priority],
			Endpoint: typ.Endpoint(d), Outages: s.outages,
			Observer: observer{s, r.stream, d.Name},
			Logger:   r.logger,
		})}
	}
	return &pipeline{target.Batches, shipper.New(shipper.Options{
		Source: s.log, Cursor: r.cursor, Sink: target.Batches, Dead: s.dead,
		MaxDelay: d.Batch.MaxDelay, Retry: retry,
		CatchUp: shipper.CatchUp{FreshShare: d.CatchUp.FreshShare, Latest: d.CatchUp.Order == config.Latest},
		Unpaced: !d.Pace, Memory: s.memory.ForShipper(shipper.DefaultMemory, s.destinations()),
		Link: link, Bandwidth: r.bandwidth, Priority: priorities[d.Priority],
		Endpoint: typ.Endpoint(d), Outages: s.outages,
		Observer: observer{s, r.stream, d.Name},
		Logger:   r.logger,
	})}
}

// block records the error of the build, and logs each reason once. Until the sink is built the WAL itself applies the drop
// policies, since there is no shipper yet.
func (r *route) block(err error, wait time.Duration) {
	r.cursor.Rest(true)
	now, before := time.Now(), r.report()
	since := before.Since
	if since.IsZero() {
		since = now
	}
	r.setReport(shipper.Report{State: shipper.Blocked, LastError: err.Error(), RetryAt: now.Add(wait), Since: since})
	if before.LastError != err.Error() {
		r.logger.Error("destination cannot be built; its events wait", "stream", r.stream, "destination", r.conf.Name, "error", err)
	}
}

func (r *route) built() {
	r.cursor.Rest(false)
	if before := r.report(); before.State == shipper.Blocked {
		r.logger.Info("destination built", "stream", r.stream, "destination", r.conf.Name, "after", time.Since(before.Since).Round(time.Millisecond))
	}
	r.setReport(shipper.Report{State: shipper.Running})
}

var priorities = map[string]shipper.Priority{
	"high": shipper.PriorityHigh, "normal": shipper.PriorityNormal, "low": shipper.PriorityLow,
}

// observer counts the requests and retries of one route's shipper in the metrics.
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
