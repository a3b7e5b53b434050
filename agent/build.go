package agent

import (
	"context"
	"fmt"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/standpipe/standpipe/agent/config"
	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/sink"
	discardsink "github.com/standpipe/standpipe/shipper/sink/discard"
	"github.com/standpipe/standpipe/shipper/sink/file"
	"github.com/standpipe/standpipe/shipper/sink/firehose"
	"github.com/standpipe/standpipe/shipper/sink/kinesis"
	"github.com/standpipe/standpipe/wal"
)

const (
	// buildsAtOnce bounds the sinks that are built at the same time: each reads files, and an agent may have thousands.
	buildsAtOnce = 8
	// buildSlotTime is how long one of them may keep the others waiting. A folder on a volume that hangs takes longer.
	buildSlotTime = time.Second
)

// buildSlots holds one for each sink that is built now.
type buildSlots chan struct{}

// acquire waits for a turn. release ends it; so does buildSlotTime. It returns false when ctx ends first.
func (b buildSlots) acquire(ctx context.Context) (release func(), ok bool) {
	select {
	case b <- struct{}{}:
	case <-ctx.Done():
		return nil, false
	}
	turn := time.AfterFunc(buildSlotTime, func() { <-b })
	return func() {
		if turn.Stop() {
			<-b
		}
	}, true
}

// openSink builds the configured sink. It reads files of this host and opens no connection.
func openSink(ctx context.Context, stream string, d config.Destination, around *shipper.Envelope, cursor *wal.Cursor, logger hclog.Logger) (shipper.Sink, error) {
	aws := sink.AWS{
		Region: d.AWS.Region, Endpoint: d.AWS.Endpoint, Profile: d.AWS.Profile, RoleARN: d.AWS.RoleARN,
		Timeout: d.Retry.Timeout,
	}
	if state := cursor.State(); d.Type != "file" && state != nil {
		// It was a file until now, and may have been killed then.
		state = file.Finish(file.Options{Path: ".", Stream: stream, State: state, Checkpoint: cursor.Stat().Checkpoint, Logger: logger})
		cursor.Settle(wal.Settlement{State: state})
	}
	switch d.Type {
	case "kinesis":
		return kinesis.New(ctx, kinesisOptions(d, around, aws))
	case "firehose":
		return firehose.New(ctx, firehoseOptions(d, around, aws))
	case "file":
		return file.Open(file.Options{
			Path: d.Path, Stream: stream, RollSize: d.RollSize, RollInterval: d.RollInterval, FileMode: d.FileMode,
			Envelope: around, State: cursor.State(), Checkpoint: cursor.Stat().Checkpoint, Logger: logger,
		})
	case discardType:
		return discardsink.New(discardShape), nil
	}
	return nil, fmt.Errorf("unknown type %q", d.Type)
}

// shapeOf returns the destination's shape, as far as the configuration determines it.
func shapeOf(d config.Destination, around *shipper.Envelope) (shipper.Shape, error) {
	switch d.Type {
	case "kinesis":
		return kinesisOptions(d, around, sink.AWS{}).Shape()
	case "firehose":
		return firehoseOptions(d, around, sink.AWS{}).Shape()
	case "file":
		return file.Options{Envelope: around}.Shape(), nil
	case discardType:
		return discardShape, nil
	}
	return shipper.Shape{}, fmt.Errorf("unknown type %q", d.Type)
}

// envelopeOf returns the envelope of the destination's events, whose IDs begin as branches define; nil: none.
func envelopeOf(branches []wal.Branch, stream string, d config.Destination) *shipper.Envelope {
	if !d.Envelope {
		return nil
	}
	return &shipper.Envelope{Branches: branches, Stream: stream, Format: d.Format}
}

// discardType is a type of destination that no configuration file can name: benchmarks of the stages before the
// destinations use it. It takes whole batches of lines.
const discardType = "discard"

var discardShape = shipper.Shape{
	Framing: shipper.FramingLines, WholeOrder: true, BatchRecords: 1, BilledStep: 1,
	MaxRecord: 16 << 20, MaxBatch: 16 << 20, AimRecord: 1 << 20, AimBatch: 1 << 20,
}
