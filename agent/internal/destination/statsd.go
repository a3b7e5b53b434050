package destination

import (
	"context"

	"github.com/standpipe/standpipe/agent/config"
	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/ranged"
	"github.com/standpipe/standpipe/shipper/sink/statsd"
)

var statsdDestination = Type{
	shape: func(config.Destination, *shipper.Envelope) (shipper.Shape, error) {
		return statsd.Options{}.Shape(), nil
	},
	openRanged: func(_ context.Context, s Spec) (ranged.Sink, error) {
		c := s.Statsd
		sink, err := statsd.New(statsd.Options{
			Network: c.Network, Address: c.Address, Metric: c.Metric, NameField: c.NameField, ValueField: c.ValueField,
			Kind: statsd.Kind(c.Kind), SampleRate: c.SampleRate, Tags: c.Tags.Values(), Flavor: statsd.Flavor(c.Flavor),
			Interval: c.Interval, MaxSeries: int(c.MaxSeries), Timeout: s.Retry.Timeout,
		})
		if err != nil { // not sink, whose nil is not the interface's
			return nil, err
		}
		return sink, nil
	},
	predict: func(d config.Destination, _ shipper.Shape, t shipper.Traffic) shipper.Forecast {
		return statsd.Options{Interval: d.Statsd.Interval}.Predict(t)
	},
	endpoint:    func(d config.Destination) string { return d.Statsd.Network + "://" + d.Statsd.Address },
	Descriptors: 1, memory: constant(2 << 20),
}
