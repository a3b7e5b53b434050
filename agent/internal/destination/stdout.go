package destination

import (
	"context"

	"github.com/standpipe/standpipe/agent/config"
	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/sink/stdout"
)

const stdoutType = "stdout"

var stdoutDestination = Type{
	shape: func(_ config.Destination, around *shipper.Envelope) (shipper.Shape, error) {
		return stdout.Options{Envelope: around}.Shape(), nil
	},
	open: func(_ context.Context, s Spec) (shipper.Sink, error) {
		return stdout.New(stdout.Options{Stream: s.EventStream, Destination: s.Name, Envelope: s.Around}), nil
	},
	endpoint:    func(config.Destination) string { return "standard output" },
	Descriptors: 1, memory: constant(2 << 20),
}
