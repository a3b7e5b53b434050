package agent

import (
	"context"

	"github.com/standpipe/standpipe/agent/config"
	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/sink/stdout"
)

const stdoutType = "stdout"

var stdoutDestination = destinationType{
	shape: func(_ config.Destination, around *shipper.Envelope) (shipper.Shape, error) {
		return stdout.Options{Envelope: around}.Shape(), nil
	},
	open: func(_ context.Context, s sinkSpec) (shipper.Sink, error) {
		return stdout.New(stdout.Options{Stream: s.eventStream, Destination: s.Name, Envelope: s.around}), nil
	},
	endpoint:    func(config.Destination) string { return "standard output" },
	descriptors: 1,
}
